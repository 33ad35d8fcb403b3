"""Local Implicit Image Functions: super-resolution of any scale."""

from liif.checkpoint import load
from liif.errors import UserError
from liif.models.sr import SRModel

__version__ = "0.1.0"
__all__ = ["SRModel", "UserError", "load"]
