"""What every training can be told, in one place: as arguments, as fields of a step, as settings of a run."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asc_core.errors import UserError

LEARNING_RATE, LORA_LEARNING_RATE = 5e-5, 5e-4


class TrainingOptions(BaseModel):
    """lr: None = 5e-5, or 5e-4 for LoRA. lora_rank: None trains all weights. limit: training examples, drawn by seed.

    patience: epochs without a better validation metric before it stops, None = never. warmup: share of the steps in
    which the learning rate rises; then it falls to 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    lr: float | None = Field(default=None, gt=0, lt=1)
    batch_size: int = Field(default=32, ge=1)
    lora_rank: int | None = Field(default=None, ge=1)
    patience: int | None = Field(default=2, ge=1)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def learning_rate(self) -> float:
        if self.lr is not None:
            return self.lr
        return LEARNING_RATE if self.lora_rank is None else LORA_LEARNING_RATE

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
