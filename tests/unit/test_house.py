"""The house stays in order: sizes, names, a test for each module, and citations that lead somewhere."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.support.repository import ROOT, anchors, tracked

MOST_LINES = 400
MOST_CHARACTERS = 40  # of a test's name

# What things were called before, by the names that now say what they are.
OLD_FILES = {
    "beside": "tasks",
    "bulkhead": "concurrency",
    "deciding": "policy, seats",
    "floor": "responses",
    "holder": "owner",
    "house": "services",
    "insist": "retry",
    "intake": "request_limits",
    "line": "call_control",
    "lint": "session",
    "local": "system",
    "outcome": "outcomes",
    "rotating": "rotating_secrets",
    "rules": "policies",
    "running": "attached",
    "taking": "signalling",
    "toolcalls": "tool_calls",
    "toolrunner": "tool_runner",
    "topic_watch": "notice_watch",
    "transfers": "transfer_targets",
    "usercode": "user_code",
}
OLD_NAMES = {
    *("Approve", "Beside", "Bulkhead", "CallOver", "Expired", "Floor", "HandOver", "Heard", "HeldLine", "Holder"),
    *("House", "Line", "Pressed", "Recorder", "Recording", "RuledLine", "Running", "Said", "Saying", "Told", "_Wish"),
    *("_untouched", "beside", "holder", "holders", "house", "insist", "left_at", "recorder", "uncertain", "usercode"),
}


def names_in(path: Path) -> set[str]:
    """The identifiers of a Python file."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def test_files_are_short() -> None:
    """No file of code has more than 400 lines."""
    lengths = {path: len(path.read_text().splitlines()) for path in tracked("*.py", "*.tf", "*.hcl")}
    assert {path.relative_to(ROOT): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_old_file_names() -> None:
    """No file has the name of before the rooms."""
    mirrored = tracked("tests/unit/*.py")
    old = [path for path in tracked("*.py") if path.stem in OLD_FILES]
    old += [path for path in mirrored if path.stem.removeprefix("test_") in OLD_FILES]
    assert [path for path in old if path != Path(__file__)] == []


def test_no_old_names() -> None:
    """No identifier has the name of before the rooms."""
    found = {path.relative_to(ROOT): names_in(path) & OLD_NAMES for path in tracked("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


CITATION = re.compile(r"(?<![\w./-])(?:docs/)?((?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")
SHELVES = ("docs", "docs/reference", "docs/decisions", ".")  # where a document that is cited by its name stands
NOT_CITED = {"README.md", "CHANGELOG.md"}  # names of files, rather than documents to read


@pytest.mark.parametrize("folder", ["sideband", "function", "supervisor", "emulator", "examples", "infra", "tests"])
def test_citations_resolve(folder: str) -> None:
    """What code cites is a document here, and a heading in it."""
    missing = []
    for path in tracked(f"{folder}/*.py", f"{folder}/*.tf", f"{folder}/*.yaml"):
        for name, anchor in CITATION.findall(path.read_text()):
            shelves = (path.parent, *(ROOT / shelf for shelf in SHELVES))
            found = [shelf / name for shelf in shelves if (shelf / name).exists()]
            if name not in NOT_CITED and not (found and (not anchor or anchor in anchors(found[0]))):
                missing.append(f"{path.relative_to(ROOT)}: {name}#{anchor}")
    assert missing == []


def test_options_cite_the_reference() -> None:
    """Each heading that an option of the stand-in names is in the reference."""
    options = (ROOT / "emulator/openai/options.py").read_text()
    cited = set(re.findall(r"\(#([\w-]+)", options))
    assert len(cited) > 10
    assert cited <= anchors(ROOT / "docs/reference/openai-realtime.md")


def test_nothing_outside_is_cited() -> None:
    """No document is cited that is not in the repository, such as a bare "reference 3.4"."""
    bare = re.compile(r"\b[Rr]eference,? \d|\b[Rr]eference,? section|\b[Dd]esign, I\d|OpenAI reference")
    cited = {path.relative_to(ROOT): bare.findall(path.read_text()) for path in tracked("*.py", "*.tf", "docs/*.md")}
    assert {path: found for path, found in cited.items() if found and path.name != "test_house.py"} == {}


# Modules without a unit test, and where they are tested instead: they are shells of I/O around what the others decide.
TESTED_ELSEWHERE = {
    "emulator/__main__.py": "tests/infra/test_compose.py",
    "emulator/dev.py": "tests/integration/test_dev.py",
    "emulator/openai/__init__.py": "tests/integration/test_openai_stand_in.py",
    "emulator/openai/api/requests.py": "tests/integration/test_openai_stand_in.py",
    "emulator/openai/api/rest.py": "tests/integration/test_openai_stand_in.py",
    "emulator/openai/api/sideband.py": "tests/integration/test_openai_sidebands.py",
    "emulator/openai/api/stand_in_control.py": "tests/integration/test_openai_stand_in.py",
    "emulator/openai/api/webhook_endpoints.py": "tests/integration/test_webhook_command.py",
    "emulator/openai/api/webrtc.py": "tests/integration/test_webrtc.py",
    "emulator/openai/calls/browser_peer.py": "tests/integration/test_browser.py",
    "emulator/openai/calls/call.py": "tests/integration/test_openai_sidebands.py",
    "emulator/openai/calls/caller.py": "tests/integration/test_openai_sidebands.py",
    "emulator/openai/calls/sideband_socket.py": "tests/integration/test_openai_faults.py",
    "emulator/openai/stand_in.py": "tests/integration/test_openai_stand_in.py",
    "emulator/openai/webhooks.py": "tests/integration/test_openai_webhooks.py",
    "emulator/pubsub/topology.py": "tests/integration/test_pubsub_resources.py",
    "emulator/system.py": "tests/integration/test_main_job.py",
    "function/publisher.py": "tests/integration/test_edge.py",
    "function/webhook_admin/commands.py": "tests/integration/test_webhook_command.py",
    "function/webhook_admin/notice_watch.py": "tests/integration/test_webhook_command.py",
    "function/webhook_admin/secret_manager.py": "tests/integration/test_webhook_command.py",
    "sideband/_rig.py": "tests/integration/test_life.py",
    "sideband/cli/call.py": "tests/integration/test_dev.py",
    "sideband/cli/dev.py": "tests/integration/test_dev.py",
    "sideband/cli/rehearse.py": "tests/integration/test_examples.py",
    "sideband/cli/webhook.py": "tests/integration/test_webhook_command.py",
    "sideband/testing.py": "tests/integration/test_examples.py",
    "supervisor/calls/owner.py": "tests/integration/test_endings.py",
    "supervisor/calls/services.py": "tests/integration/test_user_code.py",
    "supervisor/calls/setup.py": "tests/integration/test_decisions.py",
    "supervisor/claims/connection.py": "tests/integration/test_claims_network.py",
    "supervisor/openai/rest.py": "tests/unit/supervisor/openai/test_signalling.py",
    "supervisor/openai/sideband.py": "tests/integration/test_sideband.py",
    "supervisor/records/firestore.py": "tests/integration/test_records_firestore.py",
    "supervisor/records/sqlite.py": "tests/integration/test_records_sqlite.py",
    "supervisor/supervisor.py": "tests/integration/test_supervisor.py",
    "supervisor/telemetry/setup.py": "tests/integration/test_observability.py",
}
# Modules that declare what others use, and decide nothing: no statement in them branches.
DECLARATIONS = {
    *("emulator/openai/errors.py", "emulator/openai/ids.py", "emulator/openai/realtime/context.py"),
    *("emulator/pubsub/__init__.py", "function/errors.py", "function/webhook_admin/settings.py"),
    *("sideband/__main__.py", "supervisor/__main__.py", "supervisor/conversation/actions.py"),
    *("supervisor/claims/__init__.py", "supervisor/errors.py", "supervisor/outcomes.py"),
}
MODULES = {
    str(path.relative_to(ROOT)): path
    for path in tracked("sideband/*.py", "supervisor/*.py", "function/*.py", "emulator/*.py")
    if "template" not in path.parts and (path.stem != "__init__" or len(ast.parse(path.read_text()).body) > 1)
}
UNIT_TESTS = [path for path in tracked("tests/unit/*/test_*.py") if path.parent != ROOT / "tests/unit"]


def modules_of(test: Path) -> set[str]:
    """Find the module that a unit test is about, by its place and its name.

    `test_writer_late.py` is about `writer.py`; `test_cli.py`, in the folder of `cli`, about the package itself.
    """
    folder, name = test.parent.relative_to(ROOT / "tests/unit"), test.stem.removeprefix("test_")
    stems = {module: Path(module).stem for module in MODULES if Path(module).parent == folder}
    names = {module: folder.name if stem == "__init__" else stem for module, stem in stems.items()}
    return {module for module, of in names.items() if name == of or name.startswith(f"{of}_")}


def branches(module: Path) -> list[int]:
    """Give the lines of a module in whose functions something branches."""
    tree = ast.walk(ast.parse(module.read_text()))
    functions = [node for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    kinds = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Match, ast.Try, ast.With, ast.AsyncWith)
    return [node.lineno for function in functions for node in ast.walk(function) if isinstance(node, kinds)]


def test_every_module_has_its_test() -> None:
    """A module has a unit test of its name, or stands in one of the two tables, and in no more than one."""
    tested = {module for test in UNIT_TESTS for module in modules_of(test)}
    places = [tested, set(TESTED_ELSEWHERE), DECLARATIONS]
    counts = {module: sum(module in place for place in places) for module in set.union(set(MODULES), *places)}
    assert {module: count for module, count in counts.items() if count != 1 or module not in MODULES} == {}


def test_every_test_has_its_module() -> None:
    """A unit test stands where its module does, and has its name."""
    assert [test.relative_to(ROOT) for test in UNIT_TESTS if not modules_of(test)] == []


def test_the_tables_are_true() -> None:
    """What is tested elsewhere is tested there, as far as its file exists; declarations branch nowhere."""
    assert {test for test in TESTED_ELSEWHERE.values() if not (ROOT / test).exists()} == set()
    assert {module: branches(MODULES[module]) for module in DECLARATIONS if branches(MODULES[module])} == {}


@pytest.mark.parametrize("folder", ["unit", "integration", "chaos", "bench", "infra", "journey"])
def test_tests_have_short_names(folder: str) -> None:
    """A test's name fits into a list, and its docstring is the sentence."""
    wrong = []
    for path in tracked(f"tests/{folder}/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                sentence = ast.get_docstring(node) or ""
                if len(node.name) > MOST_CHARACTERS or not sentence.splitlines()[:1]:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}")
    assert wrong == []
