"""What the lectures share: the course's small library, one noun a module.

    model_spec      ModelSpec: the dimensions that formulas need; published presets (with
                    model_configs, which reads Hugging Face configs, and model_presets.json)
    checks          checks of arguments, and near names for an unknown one
    tokens          token ids and logits, checked; the ends of texts; log-probabilities
    loading         load_model(): the bundled model, a folder or a Hub name
    quantisation    numbers as small integers and scales; the blocks of a GGUF file
    scoring         log-probabilities of a text, the next-token distribution
    lecture_block   the lecture's block: naive, prefill, decode
    op_trace        the table of what ran: shapes, FLOPs, bytes
    engine          the real model, opened up, with its KV cache
    hardware        Hardware: peaks and bandwidths, published and measured
    costs           FLOPs, bytes, roofline, memory, latency; predicted and measured
    parallel        pipeline and tensor parallelism: volumes, schedules, real runs
    environment     check_environment(): is this machine ready?
    decoding        toy language models, greedy and beam search, sampling (with
                    sampling_settings, which needs no torch)
    drawn_shapes    scenes of balls, cubes and cones, each with its truth
    figures         matplotlib pictures, pure functions: data in, Picture out
    widgets         thin ipywidgets shells over figures and computations
    tables          DataFrames for readers; from the package's import on, Jupyter shows all so

Shapes, written as trailing comments wherever an axis is split, moved or cached:

    B     batch_size      sequences worked on together
    L     seq_len         tokens in this call (the prompt, or 1 in a decode step)
    S     kv_len          past_len + seq_len: positions that keys and values exist for
    D     d_model         width of the residual stream
    n_H   n_heads         query heads
    n_KV  n_kv_heads      key/value heads (n_H without grouped-query attention)
    H     head_dim        width of one head
    F     d_ff            inner width of the MLP
    N     n_layers        transformer blocks
    V     vocab_size      tokens the model knows

Arrows point one way: widgets -> figures -> (decoding, engine, costs) -> (model_spec, op_trace).
Importing this package takes milliseconds; torch and transformers are imported by the modules
that need them.
"""

from .tables import show_tables_readably

__version__ = "1.0.0"

show_tables_readably()
