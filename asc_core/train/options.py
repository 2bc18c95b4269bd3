"""What every training can be told, in one place: as arguments, as fields of a step, as settings of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

LEARNING_RATE, LORA_LEARNING_RATE = 5e-5, 5e-4
RECURRENT_LEARNING_RATE = 1e-3  # of layers that are no Transformer's, and were not pre-trained


class TrainingOptions(BaseModel):
    """See the fields' descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: float | None = Field(
        default=None, gt=0, lt=1, title="Learning rate", description="None = 5e-5, 5e-4 for LoRA, 1e-3 of a BiLSTM."
    )
    batch_size: int = Field(default=32, ge=1, description="Examples a step.")
    lora_rank: int | None = Field(default=None, ge=1, description="Rank of LoRA. None trains all weights.")
    patience: int | None = Field(
        default=2, ge=1, description="Epochs without a better validation metric before it stops. None = never."
    )
    warmup: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises; then it falls to 0."
    )
    limit: int | None = Field(default=None, ge=1, description="Training examples, drawn by seed. None = all.")
    seed: int = Field(default=0, ge=0, description="Draws examples, batches and dropout.")

    @property
    def learning_rate(self) -> float:
        if self.lr is not None:
            return self.lr
        return LEARNING_RATE if self.lora_rank is None else LORA_LEARNING_RATE

    def of_encoder(self, encoder: Encoder) -> TrainingOptions:
        """With the learning rate that an encoder learns at where none was said."""
        if self.lr is not None or encoder.has_parts:
            return self
        return self.model_copy(update={"lr": RECURRENT_LEARNING_RATE})

    @property
    def training(self) -> dict[str, Any]:
        """These fields alone, of whatever has them among others."""
        return {name: getattr(self, name) for name in TrainingOptions.model_fields}

    @staticmethod
    def of(options: dict[str, Any]) -> TrainingOptions:
        """Raises: UserError where a name is unknown or a number makes no sense."""
        try:
            return TrainingOptions(**options)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{'.'.join(map(str, first['loc']))} = {first.get('input')}: {first['msg']}.") from None
