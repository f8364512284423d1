"""What both managed nodes share: a lifecycle whose errors are logged and lead to the right state.

A mistake of the user's (an `OctoRosError`) refuses the transition with one logged line; any
other exception goes through ErrorProcessing back to unconfigured, with its traceback logged.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter as RosParameter
from std_srvs.srv import Trigger

from octo_ros.errors import OctoRosError, ParameterError
from octo_ros.nodes.heartbeat import Heartbeat
from octo_ros.nodes.newest import Newest
from octo_ros.nodes.parameters import OF_EVERY_NODE, Parameter, declare, read


class ManagedNode(LifecycleNode):
    """A lifecycle node that subclasses fill with `configure`, `activate`, `deactivate` and `release`.

    `__init__` only declares parameters. They can be changed while the node is unconfigured; they
    are read when it is configured, and afterwards `reconfigure` decides.

    One callback, heartbeat or transition runs at a time.

    Args:
        name: the node's name.
        parameters: the table of its parameters.

    Raises:
        ParameterError: a parameter override of the wrong type, range or name.
    """

    def __init__(self, name: str, parameters: Sequence[Parameter]) -> None:
        super().__init__(name)
        self._parameters_table = tuple(parameters)
        self._configured = False
        self._active = False
        self._fault = False
        self._entities: list[tuple[Callable[[Any], Any], Any]] = []
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._turn = threading.RLock()  # held by whatever of the node's own code runs
        declare(self, self._parameters_table)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # rclpy answers a transition that the present state does not allow by ending the process.
        self._answer_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    # What a subclass fills in. Each may raise an OctoRosError to refuse the transition.

    def configure(self) -> None:
        """Creates everything the node needs."""

    def activate(self) -> None:
        """Starts the work; publishers are enabled right after."""

    def deactivate(self) -> None:
        """Ends the work; publishers are still enabled."""

    def release(self) -> None:
        """Gives back what `configure` created, as far as it came; entities of `owned` go by themselves."""

    def reconfigure(self, changed: dict[str, Any]) -> None:
        """Takes other values of some parameters while the node is configured.

        Raises:
            OctoRosError: they may not change; none of them has.
        """
        raise ParameterError(f"{next(iter(changed))} is read when the node is configured; clean it up first")

    # What a subclass uses.

    @property
    def active(self) -> bool:
        """Whether the node is active."""
        return self._active

    def now_ns(self) -> int:
        """The node's clock [ns]: ROS time, simulated where use_sim_time is set."""
        return self.get_clock().now().nanoseconds

    def values(self) -> dict[str, Any]:
        """The present value of every parameter, by name."""
        return read(self, self._parameters_table)

    def subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: Any, **more: Any
    ) -> Any:
        """A subscription that lives until `release`; an exception in its callback is a fault of the node."""
        entity = self.create_subscription(kind, topic, self._guarded(callback), qos, **more)
        self._entities.append((self.destroy_subscription, entity))
        return entity

    def unsubscribe(self, subscription: Any) -> None:
        """Ends a subscription before `release` does."""
        self._entities.remove((self.destroy_subscription, subscription))
        self.destroy_subscription(subscription)

    def publisher(self, kind: type, topic: str, qos: Any) -> Any:
        """A publisher that lives until `release` and publishes only while the node is active."""
        entity = self.create_lifecycle_publisher(kind, topic, qos)
        self._entities.append((self.destroy_lifecycle_publisher, entity))
        return entity

    def reporter(self, kind: type, topic: str, qos: Any) -> Any:
        """A publisher that lives until `release` and publishes whenever it is asked, for diagnostics."""
        entity = self.create_publisher(kind, topic, qos)
        self._entities.append((self.destroy_publisher, entity))
        return entity

    def timer(self, period_s: float, callback: Callable[[], None], steady: bool = False) -> Any:
        """A timer [s] that lives until `release`, on ROS time or on a clock that nothing stops."""
        clock = self._steady_clock if steady else self.get_clock()
        entity = self.create_timer(period_s, self._guarded(callback), clock=clock)
        self._entities.append((self.destroy_timer, entity))
        return entity

    def newest(self, kind: type, topic: str, qos: Any) -> Newest:
        """A subscription that lives until `release` and is asked for its newest message."""
        entity = Newest(self, kind, topic, qos)
        self._entities.append((Newest.destroy, entity))
        return entity

    def heartbeat(self, period_s: float, callback: Callable[[], None]) -> None:
        """Calls back at a steady rate [s] until `release`, whatever clock the node goes by."""
        errors: list[Exception] = []
        wake = self.waker(lambda: self.fail(errors.pop()) if errors else None)

        def beat() -> None:
            if errors:
                return
            try:
                callback()
            except Exception as error:  # a transition is for the executor's thread
                errors.append(error)
                wake()

        self._entities.append((Heartbeat.stop, Heartbeat(period_s, beat, self._turn)))

    def serve(self, name: str, callback: Callable[[], tuple[bool, str]]) -> None:
        """A std_srvs/Trigger service ~/name that lives until `release`; the callback says how it went."""
        entity = self.create_service(Trigger, f"~/{name}", self._answering(callback))
        self._entities.append((self.destroy_service, entity))

    def waker(self, callback: Callable[[], None]) -> Callable[[], None]:
        """A function that another thread may call to have `callback` run by the node's executor."""
        entity = self.create_guard_condition(self._guarded(callback))
        self._entities.append((self.destroy_guard_condition, entity))
        return entity.trigger

    def fail(self, error: BaseException) -> None:
        """Logs an unexpected error with its traceback and takes the node through ErrorProcessing."""
        self._log_unexpected("running", error)
        if self._active:
            self._fault = True
            self.trigger_deactivate()

    def end(self) -> None:
        """Shuts the node down from whatever state it is in; deactivates it first."""
        with self._turn, contextlib.suppress(RuntimeError):  # already finalized
            self.trigger_shutdown()

    def in_turn(self, call: Callable[[], None], given_up: Callable[[], bool]) -> None:
        """Runs `call` on this thread, one of the node's own, when no callback or transition runs; not at all
        once `given_up`. The node's release may thus wait for the thread. An error of `call` is raised here.
        """
        while not self._turn.acquire(timeout=0.02):
            if given_up():
                return
        try:
            if not given_up():
                call()
        finally:
            self._turn.release()

    # Transitions.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("configure", self.configure)
        self._configured = result == TransitionCallbackReturn.SUCCESS
        if result == TransitionCallbackReturn.FAILURE:
            self._release()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("activate", self.activate)
        if result != TransitionCallbackReturn.SUCCESS:
            return result
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._leave_active(state)
        return TransitionCallbackReturn.ERROR if self._fault else result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._active:
            self._leave_active(state)
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        if self._active:
            self._leave_active(state)
        self._release()
        self._fault = False
        self.get_logger().error("back to unconfigured after the error above; configure to start again")
        return TransitionCallbackReturn.SUCCESS

    def _leave_active(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._attempt("deactivate", self.deactivate)
        self._active = False
        super().on_deactivate(state)
        return result

    def _attempt(self, what: str, step: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            step()
        except OctoRosError as error:
            self.get_logger().error(f"cannot {what}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._log_unexpected(what, error)
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        self._configured = False
        try:
            self.release()
        except Exception as error:
            self._log_unexpected("release", error)
        while self._entities:
            destroy, entity = self._entities.pop()
            destroy(entity)

    def _guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any) -> None:
            with self._turn:
                try:
                    callback(*arguments)
                except Exception as error:
                    self.fail(error)

        return guarded

    def _answering(self, callback: Callable[[], tuple[bool, str]]) -> Callable[[Any, Any], Any]:
        def answer(_: Any, response: Any) -> Any:
            with self._turn:
                try:
                    response.success, response.message = callback()
                except Exception as error:
                    response.success, response.message = False, f"unexpected error: {error}"
                    self.fail(error)
            return response

        return answer

    def _log_unexpected(self, what: str, error: BaseException) -> None:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self.get_logger().error(f"unexpected error ({what}): {error}\n{trace}")

    def _on_change_state(self, request: Any, response: Any) -> Any:
        try:
            with self._turn:
                return self._answer_change_state(request, response)
        except RuntimeError:  # rclpy's RCLError
            self.get_logger().error("that transition is not possible in the present state")
            response.success = False
            return response

    def _on_set_parameters(self, parameters: list[RosParameter]) -> SetParametersResult:
        changed = {
            parameter.name: parameter.value
            for parameter in parameters
            if not parameter.name.startswith(OF_EVERY_NODE)
        }
        if self._configured and changed:
            try:
                with self._turn:
                    self.reconfigure(changed)
            except OctoRosError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)
