"""Typed functions become tools; whatever goes wrong becomes an output that the model can read."""

import asyncio
import json
from decimal import Decimal
from functools import partial, wraps
from typing import Annotated, Any, Literal, NamedTuple, cast

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from function.notice import CallNotice
from sideband import Agent, Call
from supervisor.agents.call import CallControl
from supervisor.agents.tools import FromCall, Tool
from supervisor.errors import StartupError

HEADERS = [("From", "<sip:+31201234567@sip.example.com>"), ("To", "<sip:+31207654321@sip.example.com>")]
CALL = Call(CallNotice(call_id="rtc_1", sip_headers=HEADERS, context={"sub": "customer-7"}), cast("CallControl", None))


def agent() -> Agent:
    return Agent(session={"model": "gpt-realtime-2.1"})


def only_tool(an_agent: Agent) -> Tool:
    (tool,) = an_agent.tools.values()
    return tool


async def run(an_agent: Agent, arguments: str) -> Any:
    return json.loads(await only_tool(an_agent).run(CALL, arguments))


class Order(BaseModel):
    order_id: str
    pieces: int = 1


def test_schema() -> None:
    """The schema of a tool comes from its signature and its docstring, without the call."""
    answering = agent()

    @answering.tool()
    async def book(call: Call, day: Literal["mon", "tue"], order: Order, note: str = "") -> str:
        """Book a repair.

        Only in the mornings.

        Args:
            day: The day of the visit.
            order: What to repair.
        """
        return f"{call} {day} {order} {note}"

    definition = only_tool(answering).definition()
    assert definition["type"] == "function"
    assert definition["name"] == "book"
    assert definition["description"] == "Book a repair.\nOnly in the mornings."
    parameters = definition["parameters"]
    assert parameters["properties"]["day"] == {
        "description": "The day of the visit.",
        "enum": ["mon", "tue"],
        "type": "string",
    }
    assert parameters["required"] == ["day", "order"]
    assert parameters["additionalProperties"] is False
    assert "call" not in parameters["properties"]
    assert "title" not in json.dumps(parameters)


async def test_arguments_are_typed() -> None:
    """The model's JSON arrives as values of the parameters' types."""
    answering = agent()

    @answering.tool()
    async def total(order: Order) -> dict[str, int]:
        return {"pieces": order.pieces}

    assert await run(answering, '{"order": {"order_id": "B-1", "pieces": 3}}') == {"pieces": 3}


async def test_a_plain_function_runs_in_a_thread() -> None:
    """A plain function runs in a thread, so that it does not hold up other calls."""
    answering = agent()
    here = asyncio.current_task()

    @answering.tool()
    def plain() -> bool:
        try:
            return asyncio.current_task() is here
        except RuntimeError:
            return False

    assert await run(answering, "{}") is False


async def test_a_model_is_returned_as_json() -> None:
    """A pydantic model that a tool returns goes to OpenAI's model as JSON."""
    answering = agent()

    @answering.tool()
    async def find() -> Order:
        return Order(order_id="B-1")

    assert await run(answering, "") == {"order_id": "B-1", "pieces": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"order_id": "B-1"', "Invalid JSON"),
        ("[]", "arguments:"),
        ("{}", "order_id: Field required"),
        ('{"order_id": "B-1", "customer": "x"}', "customer: Extra inputs are not permitted"),
        ('{"order_id": 7}', "order_id: Input should be a valid string"),
    ],
)
async def test_unfit_arguments_are_explained(arguments: str, says: str) -> None:
    """Arguments that do not fit are explained to the model, and the tool is not called."""
    answering = agent()

    @answering.tool()
    async def status(order_id: str) -> str:
        raise AssertionError(f"never called: {order_id}")

    assert says in (await run(answering, arguments))["error"]


async def test_an_exception_is_not_shown() -> None:
    """The model learns that a tool failed, and nothing of what its exception says."""
    answering = agent()

    @answering.tool()
    async def broken() -> str:
        raise RuntimeError("password=hunter2")

    assert await run(answering, "{}") == {"error": "The tool failed."}


async def test_a_slow_tool_is_stopped() -> None:
    """A tool that takes longer than its time-out is stopped, and the model learns so."""
    answering = agent()

    @answering.tool(timeout=0.01)
    async def endless() -> None:
        await asyncio.Event().wait()

    assert "too long" in (await run(answering, "{}"))["error"]


async def test_a_result_that_is_not_json() -> None:
    """The model learns that the tool was done but its result can't be shown, so that it is not called again."""
    answering = agent()

    @answering.tool()
    async def odd() -> object:
        return object()

    assert "It was done" in (await run(answering, "{}"))["error"], "or the model would do it again"


class Place(NamedTuple):
    row: int


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"charged": Decimal("9.95")}, {"charged": "9.95"}),
        ({1: "free"}, {"1": "free"}),
        (Place(7), [7]),
        ({"mon"}, ["mon"]),
        ([float("nan")], [None]),
        (Order(order_id="B-1"), {"order_id": "B-1", "pieces": 1}),
        (None, None),
    ],
    ids=["decimal", "key that is no text", "named tuple", "set", "not a number", "model", "None"],
)
async def test_results(result: Any, expected: Any) -> None:
    """A result of any common kind reaches the model as JSON."""
    answering = agent()

    @answering.tool
    async def look() -> Any:
        return result

    assert await run(answering, "{}") == expected


async def test_a_wrapped_tool_is_awaited() -> None:
    """An async tool behind a decorator that is a plain function is awaited."""
    answering = agent()

    async def pay() -> str:
        return '"paid"'

    @answering.tool
    @wraps(pay)
    def wrapped() -> Any:
        return pay()

    assert await run(answering, "{}") == "paid"


async def test_a_tools_own_time_out() -> None:
    """A TimeoutError of the tool's own code is a failure, logged with its traceback, and no time-out of ours."""
    answering = agent()

    @answering.tool
    async def look() -> None:
        raise TimeoutError

    with capture_logs() as logs:
        assert await run(answering, "{}") == {"error": "The tool failed."}
    assert [(line["event"], type(line["exc_info"])) for line in logs] == [("tool_failed", TimeoutError)]


def _order(order_id: str) -> None: ...
def _several(*orders: str) -> None: ...
def _options(**options: str) -> None: ...
def _nameless(order_id: str, /) -> None: ...
def _filled_nameless(customer: Annotated[str, FromCall("context.sub")], /) -> None: ...
def _filled_several(*customers: Annotated[str, FromCall("context.sub")]) -> None: ...
def _prüfe(order_id: str) -> None: ...  # noqa: PLC2401 - which is what this is about
def _late_call(order_id: str, call: Call) -> None: ...
def _renamed_call(a_call: Call, order_id: str) -> None: ...
def _generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_several, r"_several: \*orders: str: give each parameter a name"),
        (_options, r"_options: \*\*options: str: give each parameter a name"),
        (_nameless, "_nameless: order_id: str: give each parameter a name"),
        (_late_call, "_late_call: call: make the Call the first parameter"),
        (_renamed_call, "_renamed_call: a_call: make the Call the first parameter, and name it call"),
        (_generator, "_generator.*: write a plain or async function with def, one that returns"),
        (_filled_nameless, "_filled_nameless: customer.*: give each parameter a name"),
        (_filled_several, r"_filled_several: \*customers.*: give each parameter a name"),
        (_prüfe, "_prüfe: OpenAI takes up to 64 letters, digits, _ and -: rename the function"),
        (lambda: None, "<lambda>: OpenAI takes up to 64"),
        (partial(_nameless, "B-1"), "partial.*: write a plain or async function with def"),
    ],
    ids=[
        *("several", "options", "nameless", "late call", "renamed call", "generator", "nameless and filled"),
        *("several and filled", "not ASCII", "lambda", "partial"),
    ],
)
def test_an_uncallable_tool_is_refused(function: Any, says: str) -> None:
    """A function that the model could not call is refused at start, with what to write instead."""
    with pytest.raises(StartupError, match=says):
        agent().tool(function)


def test_a_wrong_time_out_is_refused() -> None:
    """A time-out that is no number of seconds above 0 is refused at start."""
    for wrong in ("8", -1, 0):
        with pytest.raises(StartupError, match="give a number of seconds above 0"):
            agent().tool(timeout=cast("float", wrong))(_options)


@pytest.mark.parametrize("wrong", [{"max_calls": "3"}, {"max_calls": 0}, {"filler": 2}], ids=str)
def test_a_wrong_option_is_refused(wrong: dict[str, Any]) -> None:
    """A wrong option of a tool is refused at start, with the names of both."""
    with pytest.raises(StartupError, match=f"tool _order: {next(iter(wrong))}="):
        agent().tool(**wrong)(_order)


def test_an_untyped_parameter_is_refused() -> None:
    """A parameter without a type is refused at start."""
    with pytest.raises(StartupError, match="tool look: give the parameter 'order_id' a type"):

        @agent().tool()
        async def look(order_id) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001 - that is what is tested
            return str(order_id)


def test_a_type_without_schema_is_refused() -> None:
    """A parameter whose type has no JSON schema is refused at start."""

    class Opaque:
        pass

    async def look(thing: Opaque) -> str:
        return str(thing)

    look.__annotations__["thing"] = Opaque
    with pytest.raises(StartupError, match="tool look: a parameter's type has no JSON schema"):
        agent().tool()(look)


def test_two_tools_of_one_name_are_refused() -> None:
    """Two tools of one name are refused at start."""
    answering = agent()

    @answering.tool()
    async def look() -> None: ...

    with pytest.raises(StartupError, match="two tools are named look"):
        answering.tool()(look)


async def test_from_call_is_hidden() -> None:
    """An argument that is filled from the call is in no schema, and the model can't set it."""
    answering = agent()

    @answering.tool()
    async def balance(
        customer: Annotated[str, FromCall("context.sub")], caller: Annotated[str, FromCall("caller")]
    ) -> str:
        return f"{customer} {caller}"

    assert only_tool(answering).definition()["parameters"]["properties"] == {}
    assert await only_tool(answering).run(CALL, "{}") == "customer-7 +31201234567"
    assert "Extra inputs" in (await run(answering, '{"customer": "customer-8"}'))["error"]


async def test_from_call_without_a_value() -> None:
    """Where the call lacks the value, the model learns that it can't be done, and is not asked for it."""
    answering = agent()

    @answering.tool()
    async def balance(customer: Annotated[str, FromCall("context.other")]) -> str:
        raise AssertionError(f"never called: {customer}")

    assert "can't be done in this call" in (await run(answering, "{}"))["error"]


def test_from_call_with_a_wrong_path() -> None:
    """A path that no call has is refused at start, with those that there are."""
    with pytest.raises(StartupError, match="write one of caller, dialled"):
        FromCall("customer")


def test_a_default_not_json_is_refused() -> None:
    """A default that is not JSON is refused at start."""
    with pytest.raises(StartupError, match="the default of 'thing' is not JSON"):

        @agent().tool()
        async def look(thing: Any = object()) -> str:  # noqa: B008 - that is what is tested
            return str(thing)
