"""A synthetic tri-modal world: persons and vehicles that several cameras see in three kinds of
light.
"""

from trireid.demo.synthetic.variety import Variety
from trireid.demo.synthetic.world import World

__all__ = ["Variety", "World"]
