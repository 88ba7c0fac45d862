"""Point prompts on one image: scores of all of them, logits of those that need them."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import torch

from napari_sam_amg.engine.arriving import arriving, sent
from napari_sam_amg.engine.decoded import Decoded, replaced
from napari_sam_amg.engine.low_rank import ENOUGH, LowRankKeys
from napari_sam_amg.engine.mask_head import MaskHead
from napari_sam_amg.engine.reassociated import Transformer, low_rank_is_faster

if TYPE_CHECKING:
    from collections.abc import Callable

    from sam2.modeling.sam2_base import SAM2Base

    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.engine.reassociated import Keys


log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Prompts whose image an accelerator works on at once."""

_OF_A_POINT = 2
"""Tokens of a point prompt: the point, and one that says that there is no box."""


class PromptsOnImage:
    """sam2's prompt encoder and mask decoder on one image, sharing what prompts share.

    Each prompt's image is worked on alone on a CPU, so that nothing depends on which prompts
    come together, and how many of them are kept.

    Parameters
    ----------
    model : SAM2Base
        One that `misfit` has nothing against.
    features : Features
    fast : bool
        Products of what has a row for each position in bfloat16.
    floor : float
        Masks with a predicted IoU of at most this are left out, if it is above 0.
    multimask_output : bool
        As for sam2.
    low_rank : bool, optional
        Whether not to form the keys; by default wherever that is faster.
    """

    def __init__(
        self,
        model: SAM2Base,
        features: Features,
        *,
        fast: bool,
        floor: float,
        multimask_output: bool,
        low_rank: bool | None = None,
    ) -> None:
        self._decoder = decoder = model.sam_mask_decoder
        self._encoder = prompts = model.sam_prompt_encoder
        self._floor = floor
        self._multimask_output = multimask_output
        dtype = torch.bfloat16 if fast else torch.float32
        self._size = size = (features.embedding.shape[-2], features.embedding.shape[-1])
        device = features.embedding.device
        image = features.embedding[0].float().flatten(1).T + prompts.no_mask_embed.weight
        pe = prompts.get_dense_pe()[0].flatten(1).T
        own = [decoder.obj_score_token.weight] if decoder.pred_obj_scores else []
        self._first = len(own) + 1  # of the mask tokens
        self._own = torch.cat([*own, decoder.iou_token.weight, decoder.mask_tokens.weight])
        self._at_once = 1 if device.type == "cpu" else _AT_ONCE
        if low_rank is None:
            tokens = len(self._own) + _OF_A_POINT
            low_rank = device.type == "cpu" and not fast
            low_rank = low_rank and low_rank_is_faster(decoder.transformer, tokens)
        self._transformer = Transformer(
            decoder.transformer,
            image,
            pe,
            dtype=dtype,
            at_once=self._at_once,
            low_rank=low_rank,
        )
        self._formed: Callable[[], PromptsOnImage] = functools.cache(
            functools.partial(
                PromptsOnImage,
                model,
                features,
                fast=fast,
                floor=floor,
                multimask_output=multimask_output,
                low_rank=False,
            )
        )
        self._rooms: list[Keys] = []
        self._head = MaskHead(
            decoder, features.high_res, size, dtype=dtype, form=self._transformer.form
        )

    def ask(self, coordinates: torch.Tensor, count: int) -> Decoded:
        """Decode prompts; arguments as for `begin`."""
        return self.begin(coordinates, count)()

    def begin(self, coordinates: torch.Tensor, count: int) -> Callable[[], Decoded]:
        """Begin to decode prompts, as far as that goes without knowing which masks pass.

        An accelerator has the next prompts to work on before the scores of these are waited for.

        Parameters
        ----------
        coordinates : Tensor, float32, Gx2
            (x, y) in pixels of the model's square.
        count : int
            The first of them to answer; the rest only fill the group up.

        Returns
        -------
        callable
            Goes on to the end, and returns what is decoded; to be called once.
        """
        labels = torch.ones(len(coordinates), 1, dtype=torch.int, device=coordinates.device)
        sparse, _ = self._encoder(points=(coordinates[:, None], labels), boxes=None, masks=None)
        tokens = torch.cat([self._own.expand(len(sparse), -1, -1), sparse], dim=1)
        try:
            room = self._rooms.pop()
        except IndexError:  # all are in use by other threads
            room = self._transformer.room(*tokens.shape[:2])
        keys = room[: len(tokens)]
        answer = self._answers(self._transformer(tokens, keys), keys, count)

        def finish() -> Decoded:
            found = answer()
            # Not so if it is NaN, either.
            known = keys.least[:count] >= ENOUGH if isinstance(keys, LowRankKeys) else None
            self._rooms.append(room)  # not after an error, which may be that memory ran out
            if known is None or known.all():
                return found
            log.debug("%d of %d prompts are worked out with their keys", (~known).sum(), count)
            return replaced(found, self._formed().ask(coordinates, count), ~known)

        return finish

    def _answers(self, tokens: torch.Tensor, keys: Keys, count: int) -> Callable[[], Decoded]:
        """Work out the scores; what is returned waits for them and finds the masks that pass."""
        decoder, first = self._decoder, self._first
        scores = decoder.iou_prediction_head(tokens[:, first - 1])[:count]
        networks = decoder.output_hypernetworks_mlps
        hyper = [network(tokens[:, first + i]) for i, network in enumerate(networks)]
        of_masks = torch.stack(hyper, dim=1)[:count]
        if not self._multimask_output and decoder.dynamic_multimask_via_stability:
            return self._steadiest(scores, of_masks, keys)
        these = slice(1, None) if self._multimask_output else slice(1)
        told = arriving(scores[:, these])
        return lambda: self._each(told(), of_masks[:, these], keys)

    def _each(self, scores: torch.Tensor, hyper: torch.Tensor, keys: Keys) -> Decoded:
        """Answer with the masks that pass, whose scores are on the CPU."""
        passing = self._passing(scores)
        prompt, mask = passing.nonzero(as_tuple=True)
        needed = passing.any(dim=1).nonzero()[:, 0]
        # All masks of a prompt, so that a mask does not depend on which others pass.
        logits = self._logits(needed, hyper, keys)
        kept = passing[needed].flatten().nonzero()[:, 0]
        return Decoded(logits.flatten(0, 1)[sent(kept, logits.device)], prompt, mask, scores)

    def _steadiest(
        self, scores: torch.Tensor, hyper: torch.Tensor, keys: Keys
    ) -> Callable[[], Decoded]:
        """Answer with sam2's one mask: the first, or the best of the others if it is unsteady.

        Which one, is known from its logits only; but where neither passes, it need not be.
        """
        which = scores[:, 1:].argmax(dim=1, keepdim=True) + 1
        choice = torch.cat([scores[:, :1], scores.gather(1, which)], dim=1)
        best = hyper.gather(1, which[..., None].expand(-1, -1, hyper.shape[-1]))
        pair = torch.cat([hyper[:, :1], best], dim=1)
        arrived = arriving(choice)

        def finish() -> Decoded:
            told = arrived()
            needed = self._passing(told).any(dim=1).nonzero()[:, 0]
            logits = self._logits(needed, pair, keys)
            chosen, final = self._decoder._dynamic_multimask_via_stability(
                logits, choice[sent(needed, choice.device)]
            )
            told = told.amin(dim=1, keepdim=True)
            told[needed] = final.cpu()
            passing = self._passing(told)[:, 0]
            kept = passing[needed].nonzero()[:, 0]
            prompt = passing.nonzero()[:, 0]
            found = chosen[:, 0][sent(kept, chosen.device)]
            return Decoded(found, prompt, torch.zeros_like(prompt), told)

        return finish

    def _passing(self, scores: torch.Tensor) -> torch.Tensor:
        return scores > self._floor if self._floor > 0 else torch.ones_like(scores).bool()

    def _logits(self, needed: torch.Tensor, hyper: torch.Tensor, keys: Keys) -> torch.Tensor:
        """Logits (Kxkxhxw) of all k masks of the K prompts that are needed."""
        h, w = self._size
        logits = hyper.new_empty(len(needed), hyper.shape[1], 4 * h, 4 * w)
        if self._at_once == 1:
            for to, i in zip(logits, needed.tolist(), strict=True):
                self._head(keys[i : i + 1], hyper[i : i + 1], to[None])
        elif isinstance(keys, torch.Tensor):
            parts = zip(
                torch.split(logits, self._at_once), torch.split(needed, self._at_once), strict=True
            )
            for to, part in parts:
                if len(part):
                    at = sent(part, keys.device)
                    self._head(keys[at], hyper[at], to)
        else:
            raise TypeError("keys that are not formed are for one prompt at a time")
        return logits
