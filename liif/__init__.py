"""Local Implicit Image Functions: super-resolution of any scale."""

from liif.errors import UserError
from liif.models.sr import SRModel
from liif.pretrained import load

__version__ = "0.1.0"
__all__ = ["SRModel", "UserError", "load"]
