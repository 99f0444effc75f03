"""Processors of checkpoints: image processor and tokenizer in one, also without torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def without_video(processor_class: Any) -> Any:
    """A subclass of a processor class that works with ``video_processor=None``.

    The video part of the processors of Qwen-VL, SmolVLM and others needs torchvision; images do not.
    """
    from transformers import ProcessorMixin

    class ForImages(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in processor_class.get_attributes() if "video" not in name]

        # SmolVLM's own method asks its video part for the number of frames, even without a video.
        apply_chat_template = ProcessorMixin.apply_chat_template

    ForImages.__name__ = ForImages.__qualname__ = processor_class.__name__
    return ForImages


def processor_for_images(source: str, options: dict[str, Any]) -> Any:
    """Load a processor without its video part, where torchvision is not installed."""
    import transformers
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, ProcessorMixin

    place: dict[str, Any] = {key: options[key] for key in ("revision", "local_files_only") if key in options}
    settings, _ = ProcessorMixin.get_processor_dict(source, **place)
    settings.pop("processor_class", None)
    kind = getattr(transformers, processor_class(source, place), None)
    if kind is None or "video_processor" not in kind.get_attributes():
        return AutoProcessor.from_pretrained(source, **options)
    images = AutoImageProcessor.from_pretrained(source, **options)
    tokenizer = AutoTokenizer.from_pretrained(source, **place)
    rest = {key: value for key, value in settings.items() if key not in kind.get_attributes()}
    return without_video(kind)(images, tokenizer, None, **rest)


def processor_class(source: str, place: Mapping[str, Any]) -> str:
    """The name of the processor class that a checkpoint states."""
    from transformers import ProcessorMixin
    from transformers.image_processing_base import ImageProcessingMixin

    settings, _ = ProcessorMixin.get_processor_dict(source, **place)
    kind = settings.get("processor_class")
    if kind is None:
        # Checkpoints from before processor_config.json name the class among the image settings.
        kind = ImageProcessingMixin.get_image_processor_dict(source, **place)[0].get("processor_class")
    return str(kind)
