"""What a model's instances are called in messages and files: the training data's own word, else "face" or "instance"."""

from __future__ import annotations

from dataclasses import dataclass

from kptool.network.cards import Card
from kptool.predict.crops import five_point_weights


@dataclass(frozen=True)
class Thing:
    """What an instance is. name: a noun in the singular. face: whether its keypoints are those of a face."""

    name: str
    face: bool

    @classmethod
    def of(cls, card: Card) -> Thing:
        """The thing that a model finds."""
        face = five_point_weights(card.config.names) is not None
        return cls(card.category or ("face" if face else "instance"), face)

    @property
    def key(self) -> str:
        """The name of the list of instances in JSON."""
        return "faces" if self.face else "instances"

    @property
    def column(self) -> str:
        """The name of the csv column with an instance's number."""
        return "face" if self.face else "instance"

    def counted(self, count: int) -> str:
        """A number of instances in words, such as "1 face", "2 faces" or "2 instances of bee"."""
        if count == 1:
            return f"1 {self.name}"
        return f"{count} {self.name}s" if self.name in ("face", "instance") else f"{count} instances of {self.name}"
