"""tf.train.Example: what is encoded is decoded, here and by the protobuf library, and damage is one error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_ros.rlds.errors import DatasetError
from octo_ros.rlds.example import (
    decode_example,
    decode_sequence_example,
    encode_example,
    encode_sequence_example,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
FEATURE = st.one_of(
    st.lists(st.binary(max_size=50), max_size=5),
    st.lists(st.floats(width=32), max_size=40).map(lambda values: np.array(values, np.float32)),
    st.lists(INT64, max_size=40).map(lambda values: np.array(values, np.int64)),
)
FEATURES = st.dictionaries(st.text(max_size=20), FEATURE, max_size=6)


def same(one, two):
    if isinstance(one, list) or isinstance(two, list):
        return one == two
    return one.dtype == two.dtype and one.tobytes() == two.tobytes()


def assert_same(one, two):
    assert list(one) == sorted(two)
    assert all(same(one[name], two[name]) for name in two)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(FEATURES)
def test_an_example_comes_back_to_the_bit(features):
    assert_same(decode_example(encode_example(features), "record"), features)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(FEATURES, st.dictionaries(st.text(max_size=20), st.lists(FEATURE, max_size=4), max_size=4))
def test_a_sequence_example_comes_back_to_the_bit(context, lists):
    read_context, read_lists = decode_sequence_example(encode_sequence_example(context, lists), "record")
    assert_same(read_context, context)
    assert list(read_lists) == sorted(lists)
    for name, steps in lists.items():
        assert len(read_lists[name]) == len(steps)
        assert all(map(same, read_lists[name], steps))


def test_arrays_are_flattened_and_numbers_are_of_the_two_kinds():
    read = decode_example(
        encode_example({"a": np.eye(2), "b": np.array([True, False]), "c": np.array(-3, np.int8)}), "record"
    )
    assert same(read["a"], np.array([1, 0, 0, 1], np.float32))
    assert same(read["b"], np.array([1, 0], np.int64)) and same(read["c"], np.array([-3], np.int64))
    with pytest.raises(DatasetError, match="feature a: expected bytes or an array of numbers"):
        encode_example({"a": np.array(["text"])})


@settings(max_examples=200, deadline=None, derandomize=True)
@given(FEATURES, st.data())
def test_damage_is_read_or_is_one_error(features, data):
    content = bytearray(encode_example(features))
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut])):
        try:
            decode_example(damaged, "here")
            decode_sequence_example(damaged, "here")
        except DatasetError as error:
            assert str(error).startswith("here: not a tf.train.")


def test_a_field_that_ends_behind_its_message_is_named():
    with pytest.raises(DatasetError, match="here: not a tf.train.Example: field 1: expected 9 bytes, got 1"):
        decode_example(b"\x0a\x09a", "here")


# An independent judge: the protobuf library with the messages described at run time.


@pytest.fixture(scope="module")
def messages():
    """Classes of tf.train.Example and SequenceExample from the protobuf library."""
    pytest.importorskip("google.protobuf", reason="the protobuf library is not installed")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def message(name, *fields, parent=None):
        made = (file.message_type if parent is None else parent.nested_type).add(name=name)
        for number, (field, kind, repeated) in enumerate(fields, start=1):
            added = made.field.add(name=field, number=number)
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".t.{kind}"
            else:
                added.type = kind
        return made

    def map_of(name, field, value):
        owner = message(name, (field, f"{name}.Entry", True))
        message("Entry", ("key", kinds.TYPE_STRING, False), ("value", value, False), parent=owner)
        owner.nested_type[0].options.map_entry = True
        owner.nested_type[0].name = "".join(part.capitalize() for part in field.split("_")) + "Entry"
        owner.field[0].type_name = f".t.{name}.{owner.nested_type[0].name}"

    message("BytesList", ("value", kinds.TYPE_BYTES, True))
    message("FloatList", ("value", kinds.TYPE_FLOAT, True))
    message("Int64List", ("value", kinds.TYPE_INT64, True))
    feature = message(
        "Feature",
        ("bytes_list", "BytesList", False),
        ("float_list", "FloatList", False),
        ("int64_list", "Int64List", False),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    map_of("Features", "feature", "Feature")
    message("FeatureList", ("feature", "Feature", True))
    map_of("FeatureLists", "feature_list", "FeatureList")
    message("Example", ("features", "Features", False))
    message("SequenceExample", ("context", "Features", False), ("feature_lists", "FeatureLists", False))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in ("Example", "SequenceExample")
    }


def value_of(feature):
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    if kind == "bytes_list":
        return list(values)
    return np.array(values, np.float32 if kind == "float_list" else np.int64)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(FEATURES)
def test_the_protobuf_library_reads_what_is_written_and_the_other_way(messages, features):
    judge = messages["Example"].FromString(encode_example(features))
    found = {name: value_of(feature) for name, feature in judge.features.feature.items()}
    assert set(found) == set(features)
    for name, values in features.items():
        if isinstance(values, np.ndarray):
            np.testing.assert_array_equal(found[name], values)
        else:
            assert found[name] == values
    read = decode_example(judge.SerializeToString(), "record")
    assert set(read) == set(features)
    assert all(np.array_equal(read[n], v, equal_nan=True) if isinstance(v, np.ndarray) and v.dtype.kind == "f"
               else same(read[n], v) for n, v in features.items())  # fmt: skip


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=20), st.lists(FEATURE, max_size=4), max_size=4))
def test_the_protobuf_library_reads_sequences(messages, lists):
    judge = messages["SequenceExample"].FromString(encode_sequence_example({}, lists))
    found = judge.feature_lists.feature_list
    assert set(found) == set(lists)
    for name, steps in lists.items():
        assert len(found[name].feature) == len(steps)
        for feature, step in zip(found[name].feature, steps, strict=True):
            np.testing.assert_array_equal(value_of(feature), step)


def test_numbers_that_are_not_packed_are_read_too():
    """Older writers give each number a field of its own."""
    floats = b"\x0d" + np.float32(1.5).tobytes() + b"\x0d" + np.float32(-2.0).tobytes()
    ints = b"\x08\x05\x08" + b"\xff" * 9 + b"\x01"
    features = b""
    for name, number, content in ((b"f", 2, floats), (b"i", 3, ints)):
        feature = bytes([number << 3 | 2, len(content)]) + content
        entry = b"\x0a\x01" + name + b"\x12" + bytes([len(feature)]) + feature
        features += b"\x0a" + bytes([len(entry)]) + entry
    read = decode_example(b"\x0a" + bytes([len(features)]) + features, "record")
    assert read["f"].tolist() == [1.5, -2.0] and read["i"].tolist() == [5, -1]
