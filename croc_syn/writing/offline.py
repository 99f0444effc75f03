"""vLLM as a writer: its own scheduler batches all requests, in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from croc.errors import InputError
from croc_syn.model_runtime import loading_failed, warn_unpinned
from croc_syn.writing import FollowUp, PromptRequest, WriterResponse
from croc_syn.writing.settings import Sampling, TextModel, Vllm


def require_vllm() -> None:
    """Check that vLLM is installed; it brings its own torch, so no extra of this package installs it.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "backend vllm: vLLM is not installed; install it on a machine with a GPU (pip install vllm), or "
            "serve the model elsewhere and use the backend endpoint"
        )


@dataclass
class VllmWriter:
    """A model in vLLM, ready to respond.

    Attributes:
        model: the language model.
        sampling: how the next token is chosen.
        settings: how it is run.
    """

    model: TextModel
    sampling: Sampling = field(default_factory=Sampling)
    settings: Vllm = field(default_factory=Vllm)
    engine: Any = None

    def write(self, requests: Sequence[PromptRequest], follow_up: FollowUp) -> None:
        """Send all requests at once, then all that follow, and so on.

        Raises:
            Abort: the model cannot be loaded.
        """
        if self.engine is None:
            self.engine = self._load()
        waiting = list(enumerate(requests))
        while waiting:
            outputs = self.engine.chat(
                [list(request.messages) for _, request in waiting],
                sampling_params=[self._params(request) for _, request in waiting],
                use_tqdm=False,
            )
            following = []
            for (number, _), output in zip(waiting, outputs, strict=True):
                best = output.outputs[0]
                response = WriterResponse(
                    text=best.text,
                    finish=best.finish_reason,
                    served_as=self.model.model,
                    input_tokens=len(output.prompt_token_ids or ()),
                    output_tokens=len(best.token_ids),
                )
                if (request := follow_up(number, response)) is not None:
                    following.append((number, request))
            waiting = following

    def _load(self) -> Any:
        require_vllm()
        import vllm

        warn_unpinned(self.model)
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
            raise loading_failed(error, self.model, "vLLM: text model") from error

    def _params(self, request: PromptRequest) -> Any:
        import vllm

        structured = self.settings.structured
        if structured == "auto":
            structured = "none" if self.model.reasons else "json_schema"
        outputs = None
        if structured == "json_schema" and request.schema is not None:
            from vllm.sampling_params import StructuredOutputsParams

            outputs = StructuredOutputsParams(json=request.schema)
        return vllm.SamplingParams(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            top_k=self.sampling.top_k or -1,
            presence_penalty=self.sampling.presence_penalty,
            max_tokens=self.sampling.max_tokens,
            seed=request.seed,
            structured_outputs=outputs,
        )
