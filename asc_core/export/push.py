"""An exported folder onto the Hugging Face hub: under the user's own token, private, and only what was exported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError

from asc_core.checkpoint.digests import DIGESTS_FILE, check_digests
from asc_core.checkpoint.hub import reachable
from asc_core.checkpoint.reasons import reason
from asc_core.errors import UserError

_REPOSITORY = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Sending:
    """What would be sent. files: name -> bytes, in order: what `digests.json` names, and that file itself."""

    folder: Path
    repository: str
    private: bool
    files: dict[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def sending(folder: str | Path, repository: str, *, private: bool = True) -> Sending:
    """Nothing is sent. Raises: UserError where the folder is not what was exported, or no repository is called so."""
    folder = Path(folder)
    if not _REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise UserError(
            f"{repository[:200]!r} is no name of a repository: give OWNER/NAME, of letters, digits, dots, dashes and "
            "underscores."
        )
    names = [*check_digests(folder), DIGESTS_FILE]
    return Sending(folder, repository, private, {name: (folder / name).stat().st_size for name in names})


def push(planned: Sending, *, overwrite: bool = False, token: str | None = None, endpoint: str | None = None) -> str:
    """Send it. Returns: the address of the repository.

    overwrite: whether a repository of that name may be there already; what it holds beside these files stays. token: by
    default the one that `hf auth login` or HF_TOKEN left. endpoint: of another hub than HF_ENDPOINT says.
    Raises: UserError, one sentence: no token, no network, not allowed, there already, or what the hub says.
    """
    token = token or get_token()
    if token is None:
        raise UserError("There is no token for the hub here: `hf auth login`, or set HF_TOKEN, to one that may write.")
    if constants.HF_HUB_OFFLINE:
        raise UserError("The hub is switched off here (HF_HUB_OFFLINE): unset it, or push from elsewhere.")
    endpoint = endpoint or constants.ENDPOINT
    if not reachable(endpoint):
        raise UserError(f"{endpoint} cannot be reached: nothing was sent; try again with a network.")
    api = HfApi(endpoint=endpoint, token=token)
    try:
        address = api.create_repo(planned.repository, private=planned.private, exist_ok=overwrite)
        if overwrite and bool(api.model_info(address.repo_id).private) is not planned.private:
            is_, asked = ("public", "--public") if planned.private else ("private", "no --public")
            raise UserError(f"{planned.repository} is there and {is_}: say {asked}, or change it on the hub first.")
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=planned.folder,
            allow_patterns=[_literally(name) for name in planned.files],
            commit_message="Exported with ASC Studio",
        )
    except HfHubHTTPError as error:
        raise UserError(_refused(planned.repository, error, endpoint)) from None
    except UserError:
        raise
    except Exception as error:  # of the network, in as many ways as there are libraries under the hub's
        raise UserError(f"{planned.repository} was not pushed ({reason(error)}): run it again.") from None
    return str(address)


def _literally(name: str) -> str:
    """As a pattern that matches this name alone."""
    return re.sub(r"([\[*?])", r"[\1]", name)


def _refused(repository: str, error: HfHubHTTPError, endpoint: str) -> str:
    status = error.response.status_code if error.response is not None else 0
    if status == 401:
        return f"{endpoint} does not know this token: `hf auth login` again, or set HF_TOKEN to another."
    if status == 403:
        return f"This token may not write to {repository}: take one with the right to, or a name of your own."
    if status == 409:
        return f"{repository} is there already: choose another name, or say --overwrite to put these files into it."
    return f"{repository} was not pushed; the hub says {status or 'no more'} ({reason(error)}): run it again."
