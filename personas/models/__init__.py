"""Reusable configuration of agents: personas, and the versioned assets that they bring along."""

from .asset import Asset, AssetVersion
from .catalogue import ModelChoice
from .persona import Persona

__all__ = ["Asset", "AssetVersion", "ModelChoice", "Persona"]
