"""Class names to CLIP text features, by open_clip's text tower and tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .configs import HEAD_WIDTH


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns ``names`` as a tuple.

    Raises:
        TypeError: ``names`` is one string, or an entry is not a string.
        ValueError: There are no names, or one is blank or stands twice.
    """
    if isinstance(names, str):
        raise TypeError(f"class names must be a list of strings, got the single string {names!r}: use [{names!r}]")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"class names must be strings, got {name!r} ({type(name).__name__})")
    if not names:
        raise ValueError("class names are empty: give at least one")
    if blank := [position for position, name in enumerate(names) if not name.strip()]:
        raise ValueError(f"class names at positions {blank} are blank: give every class a name")
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"class names are repeated: {', '.join(map(repr, repeated))}: give every class one name")
    return tuple(names)


def check_names_of_classes(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """:func:`check_class_names` of a model's classes.

    Raises:
        TypeError: As there.
        ValueError: As there, or there are more or fewer names than classes.
    """
    checked = check_class_names(names)
    if len(checked) != num_classes:
        raise ValueError(f"{len(checked)} class_names for a model of {num_classes} classes: name all, in order")
    return checked


class TextEncoder(nn.Module):
    """CLIP's text tower: names to features [names, E], not normalised.

    77 positions, a causal mask, QuickGELU, the feature at the end-of-text token, then the projection to the joint
    embedding.

    Attributes:
        logit_scale: The logarithm of CLIP's scale of logits, where the tower's file has it; a model whose image tower
            came without one takes it over.
    """

    def __init__(
        self, *, width: int, depth: int, embed_dim: int, vocab_size: int = 49408, context_length: int = 77
    ) -> None:
        """Makes a tower with random weights; :meth:`from_tensors` makes one with given weights.

        Args:
            width: Channels of a text token, a multiple of 64.
            depth: Transformer layers.
            embed_dim: Channels E of the joint embedding.
            vocab_size: Tokens of CLIP's vocabulary.
            context_length: Positions of a text.
        """
        super().__init__()
        # open_clip takes seconds to import, and only this module needs it.
        from open_clip.tokenizer import SimpleTokenizer
        from open_clip.transformer import QuickGELU, TextTransformer

        self.embed_dim = embed_dim
        self.logit_scale: Tensor | None = None
        self.tokenizer = SimpleTokenizer(context_length=context_length)
        self.tower = TextTransformer(
            context_length=context_length,
            vocab_size=vocab_size,
            width=width,
            heads=width // HEAD_WIDTH,
            layers=depth,
            output_dim=embed_dim,
            act_layer=QuickGELU,
        )
        self.requires_grad_(False).eval()

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> TextEncoder:
        """Makes a tower from tensors under OpenAI's names (``token_embedding.weight``, ``transformer.resblocks.0...``).

        Sizes are taken from the tensors.

        Raises:
            ValueError: Tensors are missing, unexpected or misshapen; all are listed.
        """
        sizing = ("token_embedding.weight", "positional_embedding", "text_projection")
        if absent := [name for name in sizing if name not in tensors]:
            raise ValueError(f"not a CLIP text tower: tensors missing: {', '.join(absent)}")
        blocks = {int(name.split(".")[2]) for name in tensors if name.startswith("transformer.resblocks.")}
        vocab_size, width = tensors["token_embedding.weight"].shape
        encoder = cls(
            width=width,
            depth=len(blocks),
            embed_dim=tensors["text_projection"].shape[1],
            vocab_size=vocab_size,
            context_length=tensors["positional_embedding"].shape[0],
        )
        try:
            encoder.tower.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except RuntimeError as error:
            raise ValueError(f"not a CLIP text tower: {error}") from error
        return encoder

    def tokenize(self, names: Sequence[str]) -> Tensor:
        """Token ids [names, 77] of lower-cased ``names``, zero-padded; longer names are cut at 77 tokens."""
        return self.tokenizer(list(names))

    @torch.no_grad()
    def forward(self, names: Sequence[str], *, batch_size: int = 64) -> Tensor:
        """Features [names, E] of ``names`` as they are: no template is put round them, nothing is normalised."""
        return self.encode(check_class_names(names), batch_size=batch_size)

    @torch.no_grad()
    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> Tensor:
        """Features [texts, E] of any texts, repeated or not; nothing is normalised."""
        device = next(self.parameters()).device
        return torch.cat([self.tower(tokens.to(device)) for tokens in self.tokenize(texts).split(batch_size)])
