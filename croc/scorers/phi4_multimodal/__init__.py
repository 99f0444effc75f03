"""Phi-4-multimodal: the paper's model, from Microsoft's layout to the class of transformers.

Microsoft's repository and the authors' ``nllg/crocscore`` hold weights for code that comes with them
(``model_type: phi4mm``). ``croc import-checkpoint`` writes a folder that transformers' own class reads:

- :mod:`~croc.scorers.phi4_multimodal.layout`: names, configuration and LoRA adapter of Microsoft's layout;
- :mod:`~croc.scorers.phi4_multimodal.weight_files`: safetensors files, read one weight at a time;
- :mod:`~croc.scorers.phi4_multimodal.importing`: the import, shard by shard;
- :mod:`~croc.scorers.phi4_multimodal.processor`: the tokenizer, the chat template and an image processor
  without torchvision.
"""
