"""Every option of every class: one declaration, checked for the command and for the library."""

import copy
import dataclasses
import pickle

import pytest

import stretta.options
from stretta.cli.flags import Flag
from stretta.cli.main import ROOT
from stretta.errors import UsageError
from stretta.options import (
    ClientEndpoint,
    HttpRequestOptions,
    ServerEndpoint,
    SiteOptions,
    StreamLimits,
    StreamPatience,
    StreamService,
    WebOptions,
    WorkerOptions,
)  # fmt: skip
from stretta.options.declare import Options, flag_of, read_text, variable_of

CLASSES = [getattr(stretta.options, name) for name in stretta.options.__all__]
FIELDS = [(options, field) for options in CLASSES for field in dataclasses.fields(options)]
NAMES = [f"{options.__name__}.{field.name}" for options, field in FIELDS]


def test_every_class_of_options_checks_its_values():
    assert all(issubclass(options, Options) for options in CLASSES)


@pytest.mark.parametrize(("options", "field"), FIELDS, ids=NAMES)
def test_a_value_outside_the_bounds_is_refused_by_the_library_and_by_the_command(options, field):
    facts = field.metadata
    wrong = [3.5j, object()]
    if facts["kind"] in (int, float):
        wrong += [-1, facts["most"] + 1, float("nan"), float("inf"), -float("inf"), True, "soon"]
        if facts["least"] is None or facts["least"] > 0:
            wrong.append(0)
    elif facts["kind"] is bool:
        wrong += [1, 0, "perhaps", -1]
    elif facts["kind"] is str:
        wrong += [1, b"bytes", "a\0b"]
        if facts["choices"]:
            wrong += ["", "nonsense", facts["choices"][0].upper() + " "]
    if field.default is not None:
        wrong.append(None)
    for value in wrong:
        with pytest.raises(UsageError) as caught:
            options(**{field.name: value})
        assert facts["secret"] or field.name in str(caught.value) or field.name == "port"
        if isinstance(value, str | int | float) and facts["kind"] in (int, float):
            with pytest.raises(UsageError, match=flag_of(field)):
                read_text(field, str(value), flag_of(field))


@pytest.mark.parametrize(("options", "field"), FIELDS, ids=NAMES)
def test_the_default_is_accepted(options, field):
    assert options(**{field.name: field.default}) == options()


def test_units_hold_for_the_library_too():
    assert StreamPatience(timeout="50ms").timeout == 0.05
    assert StreamLimits(max_line="64KiB", idle_timeout="5m") == StreamLimits()


def test_a_value_that_is_replaced_is_checked_too():
    assert dataclasses.replace(StreamLimits(), max_line=5).max_line == 5
    with pytest.raises(UsageError, match="max_line cannot be 0: it must be from 1 to"):
        dataclasses.replace(StreamLimits(), max_line=0)


def test_options_cannot_be_changed():
    limits = StreamLimits()
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.max_line = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        del limits.max_line
    with pytest.raises(TypeError, match="no option 'max_lines'"):
        StreamLimits(max_lines=5)


def test_options_are_values():
    one, other = StreamLimits(max_line=5), StreamLimits(max_line=6)
    assert one == StreamLimits(max_line=5) != other
    assert len({one, StreamLimits(max_line=5), other}) == 2
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert repr(StreamPatience()) == "StreamPatience(connect_timeout=10.0, timeout=None)"


def test_a_password_is_not_in_the_repr():
    assert "segreto" not in repr(SiteOptions(auth=("anna:segreto",)))
    assert "segreto" not in repr(HttpRequestOptions(auth="anna:segreto"))


def test_a_port_outside_the_lecture_s_range():
    for options in (ClientEndpoint, ServerEndpoint):
        for port in (80, -1, 65_536, "abc", "1_2000", True):
            with pytest.raises(UsageError, match=r"-p option must be an integer in 1024\.\.65535"):
                options(port=port)
        assert options(port="12001").port == 12_001
        assert options(port=0, any_port=True).port == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: StreamService(framing="lines"), "it must be stream or line"),
        (lambda: WorkerOptions(workers="many"), "workers cannot be 'many'"),
        (lambda: WorkerOptions(workers=1025), "it must be from 1 to 1,024"),
        (lambda: WebOptions(log="xml"), "it must be common, combined, json or off"),
        (lambda: SiteOptions(index="a.html"), "it must be a list of texts"),
        (lambda: StreamLimits(backlog=1.5), "it is not a whole number"),
        (lambda: StreamPatience(timeout="5M"), "'M' is not a unit of time. Accepted: seconds,"),
    ],
)
def test_the_message_says_what_is_accepted(make, says):
    with pytest.raises(UsageError) as caught:
        make()
    assert says in str(caught.value)


def every_flag():
    """Give each command's name and each of its flags."""

    def walk(group, path):
        for name in group.list_commands(None):
            command = group.get_command(None, name)
            if hasattr(command, "list_commands"):
                yield from walk(command, f"{path} {name}")
            else:
                yield from ((f"{path} {name}", one) for one in command.params)

    return list(walk(ROOT, "stretta"))


def test_every_option_of_every_command_is_declared_in_a_class():
    options = [one for _, one in every_flag() if one.param_type_name == "option"]
    assert len(options) > 100
    assert all(isinstance(one, Flag) for one in options)
    assert {one.options.__name__ for one in options} <= set(stretta.options.__all__)


def test_a_variable_has_one_meaning():
    meanings = {}
    for command, flag in every_flag():
        if flag.envvar:
            facts = {
                k: v for k, v in flag.declared.metadata.items() if k not in ("group", "common")
            }
            meaning = (flag_of(flag.declared), flag.declared.default, facts)
            assert meanings.setdefault(flag.envvar, meaning) == meaning, (command, flag.envvar)
    assert len(meanings) > 50


def test_a_variable_of_the_library_s_classes_has_one_meaning():
    meanings = {}
    for options, field in FIELDS:
        if variable := variable_of(field):
            meaning = (field.name, field.default, field.metadata["words"])
            assert meanings.setdefault(variable, meaning) == meaning, (options, variable)
