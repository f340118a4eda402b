"""Weights files from outside: what fits comes in, what is broken, unsafe or does not fit is refused with its reason."""

import hashlib
import io
import json
import os
import pickle
import random
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from core.errors import BadCheckpoint, BadNetwork
from core.specs import NetworkSource
from deepvis.networks import demo, find_source, import_checkpoint, load_network, pickles, with_weights
from deepvis.networks.checkpoints import read_header
from deepvis.networks.classifiers import make_module
from deepvis.networks.loading import hash_weights

LIMIT = 100_000_000
BUILDER = "squeezenet1_1"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(3)
    return make_module(BUILDER).state_dict()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.pth"


def refused(path, builder=BUILDER, limit=LIMIT):
    with pytest.raises(BadCheckpoint) as raised:
        import_checkpoint(builder, path, max_bytes=limit)
    return str(raised.value)


class TestWhatFits:
    def check(self, path, state):
        data, key = import_checkpoint(BUILDER, path, max_bytes=LIMIT)
        assert key == hashlib.sha256(data).hexdigest()
        loaded = load(data)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[name], state[name]) for name in state)
        return key

    def test_every_way_to_write_it_gives_the_same_bytes(self, tmp_path, state):
        save_file(state, tmp_path / "a.safetensors")
        torch.save(state, tmp_path / "b.pth")
        torch.save(state, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
        torch.save({"epoch": 3, "state_dict": {f"module.{n}": t for n, t in state.items()}}, tmp_path / "d.pth")
        assert len({self.check(path, state) for path in tmp_path.iterdir()}) == 1

    def test_views_and_half_precision_come_in_whole(self, file, state):
        halves = {name: tensor.half() for name, tensor in state.items()}
        turned = {n: t.transpose(0, 1).contiguous().transpose(0, 1) if t.ndim > 1 else t for n, t in halves.items()}
        torch.save(turned, file)
        self.check(file, {name: tensor.float() for name, tensor in halves.items()})

    def test_old_checkpoints_have_no_training_counters(self, file):
        module = make_module("resnet18")
        torch.save({n: t for n, t in module.state_dict().items() if "num_batches_tracked" not in n}, file)
        import_checkpoint("resnet18", file, max_bytes=LIMIT)

    def test_a_head_with_other_classes_is_taken_over(self, file):
        torch.save(make_module(BUILDER, {"classifier.1.weight": (7, 512, 1, 1)}).state_dict(), file)
        import_checkpoint(BUILDER, file, max_bytes=LIMIT)
        network = load_network(NetworkSource(name="x", kind="torchvision", builder=BUILDER), checkpoint=file)
        with torch.no_grad():
            assert network.module(torch.zeros(1, *network.input_shape)).shape == (1, 7)
        assert network.labels == ()

    def test_training_heads_are_left_out(self, file):
        module = make_module("googlenet", {})
        extra = {"aux1.conv.conv.weight": torch.zeros(128, 512, 1, 1)}
        torch.save(module.state_dict() | extra, file)
        data, _ = import_checkpoint("googlenet", file, max_bytes=LIMIT)
        assert load(data).keys() == module.state_dict().keys()

    def test_the_demo_takes_checkpoints(self):
        path = Path(demo.__file__).with_name(demo.WEIGHTS_FILE)
        data, _ = import_checkpoint("demo", path, max_bytes=LIMIT)
        assert load(data).keys() == demo.build().state_dict().keys()

    def test_factories_take_checkpoints(self, file):
        builder = f"{__name__}:striped"
        torch.save(striped().state_dict(), file)
        data, _ = import_checkpoint(builder, file, max_bytes=LIMIT)
        file.write_bytes(data)
        network = load_network(NetworkSource(name="x", kind="factory", builder=builder), checkpoint=file)
        assert network.module[0].weight.flatten().tolist() == list(range(9))

    def test_a_checkpoint_of_an_operators_network_keeps_what_the_file_says(self, file, tmp_path):
        table = f'factory = "{__name__}:striped"\ninput_shape = [1, 12, 10]\nmean = [0.4]\nstd = [0.2]\n'
        (tmp_path / "networks.toml").write_text(f"[networks.stripes]\n{table}")
        networks_file = str(tmp_path / "networks.toml")
        torch.save(striped().state_dict(), file)
        base = find_source("stripes", networks_file)
        data, digest = import_checkpoint(base.builder, file, max_bytes=LIMIT)
        file.write_bytes(data)
        source = with_weights(base, digest)
        network = load_network(source, checkpoint=file, networks_file=networks_file)
        assert source.name == f"stripes-{digest[:8]}"
        assert (network.input_shape, network.mean, network.std) == ((1, 12, 10), (0.4,), (0.2,))

    def test_loading_pours_in_what_was_imported(self, tmp_path, state):
        save_file(state, tmp_path / "a.safetensors")
        source = NetworkSource(name="x", kind="torchvision", builder=BUILDER)
        network = load_network(source, checkpoint=tmp_path / "a.safetensors")
        twin = make_module(BUILDER)
        twin.load_state_dict(state)
        assert network.weights_hash == hash_weights(twin)


def striped():
    layer = nn.Conv2d(1, 1, 3, bias=False)
    nn.init.zeros_(layer.weight)
    layer.weight.data.add_(torch.arange(9.0).view(1, 1, 3, 3))
    return nn.Sequential(layer)


class TestWhatDoesNotFit:
    def test_every_difference_is_named(self, file, state):
        changed = dict(state)
        changed["features.0.weight"] = torch.zeros(64, 3, 5, 5)
        changed["features.0.bias"] = torch.zeros(64, dtype=torch.int64)
        changed["surprise"] = changed.pop("classifier.1.bias")
        torch.save(changed, file)
        reason = refused(file)
        assert "missing: classifier.1.bias" in reason
        assert "not part of the network: surprise" in reason
        assert "features.0.weight is 64 x 3 x 5 x 5 instead of 64 x 3 x 3 x 3" in reason
        assert "wrong type of number: features.0.bias" in reason

    def test_huge_shapes_are_refused_before_memory_is_taken(self, file):
        """A tensor of a terabyte, written as one number that is repeated."""
        torch.save({"features.0.weight": torch.zeros(1).expand(2**19, 2**19)}, file)
        assert "says it is 524288 x 524288, and the file has fewer numbers" in refused(file)

    @pytest.mark.parametrize("modern", [True, False])
    def test_a_head_of_a_million_classes_from_one_number(self, file, state, modern):
        """The head is built as the file has it, so that shapes alone would not give it away."""
        head = {"classifier.1.weight": torch.zeros(1).expand(10**6, 512, 1, 1), "classifier.1.bias": torch.zeros(10**6)}
        torch.save({**state, **head}, file, _use_new_zipfile_serialization=modern)
        assert "1000000 x 512 x 1 x 1, and the file has fewer numbers" in refused(file)

    @pytest.mark.parametrize("make", [lambda t: t.to_sparse(), lambda t: t.to("meta")], ids=["sparse", "nowhere"])
    def test_tensors_that_are_not_plain(self, file, state, make):
        torch.save({**state, "classifier.1.bias": make(torch.zeros(1000))}, file)
        assert "classifier.1.bias of the checkpoint is no plain tensor" in refused(file)

    @pytest.mark.parametrize(
        "value", [torch.full((1000,), torch.nan), torch.full((1000,), 1e300, dtype=torch.float64)], ids=["NaN", "1e300"]
    )
    def test_weights_that_are_no_finite_numbers(self, file, state, value):
        torch.save({**state, "classifier.1.bias": value}, file)
        assert "not finite numbers: classifier.1.bias" in refused(file)

    def test_a_network_that_is_not_there(self, file, state):
        torch.save(state, file)
        with pytest.raises(BadNetwork, match="no classifier"):
            import_checkpoint("nonsense", file, max_bytes=LIMIT)

    def test_over_the_limit(self, file, state):
        torch.save(state, file)
        assert "at most 1000 are read" in refused(file, limit=1000)

    def test_over_the_limit_once_unpacked(self, file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("weights/data.pkl", b"\0" * 10_000_000)
        assert file.stat().st_size < 100_000
        assert "at most 1000000 are read" in refused(file, limit=1_000_000)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def write_pickle(path, data, modern):
    """A file as torch.save writes it, with this as the pickle of the tensors."""
    if modern:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (("data.pkl", data), ("version", b"3"), ("byteorder", b"little")):
                archive.writestr(f"weights/{name}", content)
    else:
        start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join([*start, data, pickle.dumps([], 2)]))


class TestWhatIsBrokenOrUnsafe:
    @pytest.mark.parametrize("modern", [True, False])
    def test_a_pickle_bomb_does_not_go_off(self, file, tmp_path, state, modern):
        target = tmp_path / "gone-off"
        torch.save({**state, "surprise": Bomb(target)}, file, _use_new_zipfile_serialization=modern)
        reason = refused(file)
        assert "would run code" in reason
        assert "exec" in reason
        assert "weights_only" not in reason  # torch's advice to switch the protection off is not passed on
        assert not target.exists()

    def test_a_bare_pickle_bomb_does_not_go_off(self, file, tmp_path):
        target = tmp_path / "gone-off"
        file.write_bytes(pickle.dumps(Bomb(target)))
        refused(file)
        assert not target.exists()

    def test_a_bomb_named_safetensors_does_not_go_off(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(pickle.dumps(Bomb(tmp_path / "gone-off")))
        assert "broken" in refused(path)
        assert not (tmp_path / "gone-off").exists()

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize("kept", [0, 1, 8, 9, 100, 5000, -1000, -1])
    def test_truncated_files(self, tmp_path, state, suffix, kept):
        path = tmp_path / f"weights{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        path.write_bytes(path.read_bytes()[:kept])
        assert "weights" in refused(path)

    @pytest.mark.parametrize("modern", [True, False])
    @pytest.mark.parametrize(
        ("steps", "reason"),
        [
            (b"](" + b"}" * 2_000_000 + b"e", "far more than the tensors"),  # of 64 bytes each, from a byte each
            (b"]" * 2_000_000, "far more than the tensors"),
            (b"cbuiltins\nbytearray\n(M\xff\xfftR", "more than tensors: builtins.bytearray"),
            (b"c_codecs\nencode\n(X\x01\0\0\0aX\x04\0\0\0idnatR", "more than tensors: _codecs.encode"),
        ],
        ids=["dictionaries", "nested lists", "bytes of any length", "slow encodings"],
    )
    def test_pickles_that_take_more_than_they_are(self, file, modern, steps, reason):
        write_pickle(file, b"\x80\x02" + steps + b".", modern)
        assert reason in refused(file)

    def test_a_pickle_of_gigabytes(self, file, monkeypatch):
        monkeypatch.setattr(pickles, "MOST_BYTES", 1000)
        write_pickle(file, pickle.dumps("a" * 2000, 2), modern=True)
        assert "far more than the tensors" in refused(file)

    def test_an_old_file_with_an_archive_behind_it(self, file, tmp_path):
        write_pickle(file, b"\x80\x02](" + b"}" * 2_000_000 + b"e.", modern=False)
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("a/data.pkl", pickle.dumps({}, 2))
        assert "far more than the tensors" in refused(file)

    def test_numbers_that_are_fewer_than_the_pickle_says(self, file, state, tmp_path):
        torch.save(state, tmp_path / "whole.pth")
        with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(file, "w") as short:
            for name in whole.namelist():
                short.writestr(name, whole.read(name)[:4] if name.endswith("data/0") else whole.read(name))
        assert "record size" in refused(file)

    def test_pipes_devices_and_folders_are_not_waited_for(self, file, tmp_path):
        os.mkfifo(file)
        assert "is no file" in refused(file)
        assert "is no file" in refused(Path("/dev/zero"))
        assert "is no file" in refused(tmp_path)
        with pytest.raises(BadCheckpoint, match="is no file"):
            read_header(file)

    def test_a_link_is_what_it_leads_to(self, file, state, tmp_path):
        save_file(state, tmp_path / "weights.safetensors")
        file.symlink_to(tmp_path / "weights.safetensors")
        import_checkpoint(BUILDER, file, max_bytes=LIMIT)
        (tmp_path / "astray.pth").symlink_to(tmp_path / "absent")
        assert "No such file" in refused(tmp_path / "astray.pth")

    def test_a_header_of_many_megabytes(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(struct.pack("<Q", 20_000_000) + b"{}".ljust(20_000_000))
        assert "header is too long" in refused(path)

    @pytest.mark.parametrize(
        "entry",
        [
            {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]},
            {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]},
            {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
            {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
            {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
            {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
            {"dtype": "F32", "shape": [2]},
        ],
    )
    def test_headers_that_lie(self, tmp_path, entry):
        header = json.dumps({"features.0.weight": entry}).encode()
        path = tmp_path / "weights.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
        assert "broken" in refused(path)

    def test_bytes_changed_anywhere(self, tmp_path):
        """Of a small network's file, in all three formats: it is taken or refused, and nothing else is raised."""
        builder, dice = f"{__name__}:striped", random.Random(0)
        save_file(striped().state_dict(), tmp_path / "a.safetensors")
        for name, modern in (("b.pth", True), ("c.pth", False)):
            torch.save(striped().state_dict(), tmp_path / name, _use_new_zipfile_serialization=modern)
        for path in sorted(tmp_path.iterdir()):
            whole = path.read_bytes()
            for _ in range(60):
                data = bytearray(whole)
                for _ in range(dice.choice([1, 4])):
                    data[dice.randrange(len(data))] = dice.randrange(256)
                path.write_bytes(data)
                with suppress(BadCheckpoint):
                    import_checkpoint(builder, path, max_bytes=LIMIT)

    def test_a_header_longer_than_the_file(self, tmp_path):
        path = tmp_path / "weights.safetensors"
        path.write_bytes(struct.pack("<Q", 2**60) + b"{}")
        refused(path)

    def test_a_header_that_points_outside_the_file(self, tmp_path):
        header = json.dumps({"features.0.weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
        path = tmp_path / "weights.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        refused(path)

    @pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, torch.zeros(2), {"state_dict": {"a": "b"}}])
    def test_anything_but_tensors_by_name(self, file, content):
        torch.save(content, file)
        assert "The checkpoint holds" in refused(file)

    def test_noise_and_nothing(self, file, tmp_path):
        file.write_bytes(bytes(range(256)) * 20)
        refused(file)
        assert "No such file" in refused(tmp_path / "absent.pth")

    def test_another_file_than_the_source_names(self, tmp_path, state):
        save_file(state, tmp_path / "a.safetensors")
        source = NetworkSource(name="x", kind="torchvision", builder=BUILDER, checkpoint="f" * 64)
        with pytest.raises(BadCheckpoint, match=r"another one than asked for.*not ffffffffffff"):
            load_network(source, checkpoint=tmp_path / "a.safetensors")

    def test_a_bomb_among_the_files_that_torchvision_kept(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        kept, target = tmp_path / "hub" / "checkpoints", tmp_path / "gone-off"
        kept.mkdir(parents=True)
        torch.save({"surprise": Bomb(target)}, kept / "squeezenet1_1-b8a52dc0.pth")
        with pytest.raises(BadNetwork, match=r"no plain set of tensors.*Remove .*squeezenet1_1-b8a52dc0\.pth"):
            load_network(find_source(BUILDER))
        assert not target.exists()
        assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ

    def test_weights_that_torchvision_kept_are_read(self, tmp_path, monkeypatch, state):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        kept = tmp_path / "hub" / "checkpoints"
        kept.mkdir(parents=True)
        torch.save(state, kept / "squeezenet1_1-b8a52dc0.pth", _use_new_zipfile_serialization=False)
        twin = make_module(BUILDER)
        twin.load_state_dict(state)
        assert load_network(find_source(BUILDER)).weights_hash == hash_weights(twin)

    def test_a_missing_file_of_a_source(self):
        source = NetworkSource(name="x", kind="torchvision", builder=BUILDER, checkpoint="0" * 64)
        with pytest.raises(BadCheckpoint, match="was not given"):
            load_network(source)


def test_headers_name_shapes_and_types(tmp_path, state):
    save_file(state, tmp_path / "a.safetensors")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    (tmp_path / "b.pth").write_bytes(buffer.getvalue())
    assert read_header(tmp_path / "a.safetensors") == read_header(tmp_path / "b.pth")
