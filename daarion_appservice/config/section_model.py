"""The base class of the sections of ``config.yaml``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the file. Unknown keys are errors, so that a typing error never results in a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
