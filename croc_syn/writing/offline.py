"""vLLM as a writer: its own scheduler batches everything it is given, in this process."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from croc.errors import InputError
from croc.jobs.parts import Abort
from croc_syn.writing import Again, Ask, Said
from croc_syn.writing.settings import Sampling, TextModel, Vllm

log = logging.getLogger(__name__)


def require() -> None:
    """Say so when vLLM is not here; it brings its own torch, so no extra of this package installs it.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "backend vllm: vLLM is not installed here (pip install vllm, on a machine with a GPU); or serve "
            "the model elsewhere and take the backend endpoint"
        )


@dataclass
class VllmWriter:
    """A model in vLLM, ready to answer.

    Attributes:
        model: which one.
        sampling: how the next word is chosen.
        settings: how it is run.
    """

    model: TextModel
    sampling: Sampling = field(default_factory=Sampling)
    settings: Vllm = field(default_factory=Vllm)
    engine: Any = None

    def answer(self, asks: Sequence[Ask], again: Again) -> None:
        """Ask everything at once, then what is asked again at once, and so on.

        Raises:
            Abort: the model cannot be loaded.
        """
        if self.engine is None:
            self.engine = self._load()
        waiting = list(enumerate(asks))
        while waiting:
            found = self.engine.chat(
                [list(ask.messages) for _, ask in waiting],
                sampling_params=[self._params(ask) for _, ask in waiting],
                use_tqdm=False,
            )
            coming = []
            for (number, _), output in zip(waiting, found, strict=True):
                best = output.outputs[0]
                said = Said(
                    text=best.text,
                    finish=best.finish_reason,
                    served_as=self.model.model,
                    input_tokens=len(output.prompt_token_ids or ()),
                    output_tokens=len(best.token_ids),
                )
                if (another := again(number, said)) is not None:
                    coming.append((number, another))
            waiting = coming

    def _load(self) -> Any:
        require()
        import vllm

        if self.model.revision is None:
            log.warning(
                "%s: no revision is given, so another model may be loaded another day", self.model.model
            )
        try:
            return vllm.LLM(
                model=self.model.model,
                revision=self.model.revision,
                tokenizer_revision=self.model.revision,
                dtype=self.settings.dtype,
                tensor_parallel_size=self.settings.gpus,
                gpu_memory_utilization=self.settings.memory,
                **self.settings.engine,
            )
        except (OSError, ValueError, RuntimeError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise Abort(f"text model {self.model.model}: vLLM cannot load it ({said})") from error

    def _params(self, ask: Ask) -> Any:
        import vllm

        held = self.settings.structured
        if held == "auto":
            held = "none" if self.model.reasons else "json_schema"
        form = None
        if held == "json_schema" and ask.schema is not None:
            from vllm.sampling_params import StructuredOutputsParams

            form = StructuredOutputsParams(json=ask.schema)
        return vllm.SamplingParams(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            top_k=self.sampling.top_k or -1,
            presence_penalty=self.sampling.presence_penalty,
            max_tokens=self.sampling.max_tokens,
            seed=ask.seed,
            structured_outputs=form,
        )
