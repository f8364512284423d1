"""Simplifies an exported graph: constants folded, operations that do nothing or repeat one another gone.

It is what `torch.onnx.export` does by itself, but for one rule of rewriting: that which looks for two
slices that make a split reads the whole graph again at every node, and the model splits by itself.
"""

from __future__ import annotations

import onnx_ir
from onnx_ir.passes import common
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2
"""How often folding and rewriting take turns, where either finds anything."""

RULES = (
    *rules.mul_by_1_rule.commute(),
    *rules.add_0_rule.commute(),
    rules.sub_0_rule,
    rules.div_by_1_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.materialize_reshape_shape_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.no_op_transpose_rule,
    rules.reshape_reshape_rule,
    rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.squeeze_reshape_1d_rule,
    rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule,
    rules.remove_optional_bias_from_conv_rule,
    rules.remove_optional_bias_from_conv_transpose_rule,
    rules.remove_optional_bias_from_gemm_rule,
)


def simplify(model: onnx_ir.Model) -> None:
    """Simplifies a model in place; constants of subgraphs move to the graph around them."""
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        folded = fold_constants_ir(model, onnx_shape_inference=True).modified
        rewritten = RewritePass(RULES)(model).modified
        unused = common.RemoveUnusedNodesPass()(model).modified
        if not (folded or rewritten or unused):
            break
    for last in (
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    ):
        last(model)
