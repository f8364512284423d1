"""Parameters of a node as a table: name, default, meaning and range, checked before anything uses them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from octo_ros.errors import ParameterError

OF_EVERY_NODE = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Parameters, or their prefixes, that rclpy declares by itself."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; the type of its default is its type.

    Attributes:
        name: as a YAML file spells it.
        default: value where none is given.
        description: meaning and unit.
        minimum: least value allowed, for a number.
        maximum: greatest value allowed, for a number.
        choices: the values allowed, for a text; any where empty.
    """

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """The description and range as ROS tools show them."""
        descriptor = ParameterDescriptor(description=self.description)
        if self.choices:
            descriptor.additional_constraints = "one of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                bounds = FloatingPointRange(from_value=float(self.minimum), to_value=float(self.maximum))
                descriptor.floating_point_range = [bounds]
            else:
                bounds = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
                descriptor.integer_range = [bounds]
        return descriptor


def declare(node: Node, parameters: Iterable[Parameter]) -> None:
    """Declares every parameter of the table on a node.

    A whole number given for a float is taken as one, which rclpy would refuse.

    Raises:
        ParameterError: an override of the wrong type, out of range, or of a misspelt name.
    """
    given: dict[str, RosParameter] = getattr(node, "_parameter_overrides", {})
    parameters = tuple(parameters)
    for parameter in parameters:
        override = given.get(parameter.name)
        if isinstance(parameter.default, float) and override and override.type_ == RosParameter.Type.INTEGER:
            given[parameter.name] = RosParameter(parameter.name, value=float(override.value))
        try:
            node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
        except ParameterException as error:
            raise ParameterError(_refused(parameter, override, error)) from error
    _refuse_misspelt(node, given, [parameter.name for parameter in parameters])


def read(node: Node, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The present value of every parameter of the table, by name.

    Raises:
        ParameterError: a text that is none of its choices.
    """
    values = {parameter.name: node.get_parameter(parameter.name).value for parameter in parameters}
    for parameter in parameters:
        if parameter.choices and values[parameter.name] not in parameter.choices:
            raise ParameterError(
                f"{parameter.name}: expected one of {', '.join(parameter.choices)}, "
                f"got {values[parameter.name]!r}"
            )
    return values


def _refused(parameter: Parameter, override: RosParameter | None, error: Exception) -> str:
    got = override.value if override else error
    expected = f"a {type(parameter.default).__name__}"
    if isinstance(parameter.default, list):
        expected = "a list of texts, such as [primary, wrist]"
    if parameter.minimum is not None:
        expected += f" within {parameter.minimum} to {parameter.maximum}"
    return f"{parameter.name}: expected {expected}, got {got!r}"


def _refuse_misspelt(node: Node, given: Iterable[str], known: list[str]) -> None:
    for name in given:
        if name in known or name.startswith(OF_EVERY_NODE):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            raise ParameterError(f"{name}: no parameter of this node has that name; did you mean {close[0]}?")
        node.get_logger().warning(f"parameter {name} is not one of this node's; it is ignored")
