"""nn: the tree of modules, its state, hooks, containers, layers, and the ops that Sequential fuses."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import gpudl
from gpudl import nn


def array(t):
    return t.detach().cpu().numpy()


class Scale(nn.Module):
    """x * w + b with a parameter, a buffer, and a buffer that is not saved."""

    def __init__(self, w=(2.0, 3.0)):
        super().__init__()
        self.w = nn.Parameter(gpudl.tensor(list(w)))
        self.register_buffer("b", gpudl.tensor([1.0, -1.0]))
        self.register_buffer("scratch", gpudl.zeros(2), persistent=False)

    def forward(self, x):
        return x * self.w + self.b


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Scale()
        self.second = Scale((5.0, 7.0))

    def forward(self, x):
        return self.second(self.first(x))


# ------------------------------------------------------------------------------------------------------------------ attributes
def test_tree_and_names():
    net = Two()
    assert [n for n, _ in net.named_parameters()] == ["first.w", "second.w"]
    assert [n for n, _ in net.named_buffers()] == ["first.b", "first.scratch", "second.b", "second.scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "second"]
    assert [n for n, _ in net.named_children()] == ["first", "second"]
    assert list(net.children()) == [net.first, net.second] and list(net.modules()) == [net, net.first, net.second]
    assert [n for n, _ in net.named_parameters(prefix="net", recurse=True)] == ["net.first.w", "net.second.w"]
    assert list(net.parameters(recurse=False)) == []
    assert net.get_parameter("second.w") is net.second.w and net.get_submodule("first") is net.first and net.get_submodule("") is net
    with pytest.raises(AttributeError, match="Two has no submodule `third`"):
        net.get_submodule("third.x")
    with pytest.raises(AttributeError, match="Scale has no parameter `b`"):
        net.get_parameter("first.b")
    assert {"first", "second", "training", "forward"} <= set(dir(net))


def test_shared_modules_and_parameters_come_once():
    net = Two()
    net.second = net.first
    assert [n for n, _ in net.named_parameters()] == ["first.w"]
    assert [n for n, _ in net.named_parameters(remove_duplicate=False)] == ["first.w", "second.w"]
    assert [n for n, _ in net.named_modules()] == ["", "first"]
    assert list(net.state_dict()) == ["first.w", "first.b", "second.w", "second.b"]  # a state names every place
    assert net.load_state_dict(net.state_dict()).missing_keys == []


def test_assignment_before_init_says_so():
    class Early(nn.Module):
        def __init__(self, value):
            self.x = value

    for value, what in ((nn.Parameter(gpudl.zeros(1)), "parameters"), (Scale(), "module")):
        with pytest.raises(AttributeError, match=rf"cannot assign {what} before Module.__init__\(\) call: Early.__init__ must call super"):
            Early(value)
    with pytest.raises(AttributeError, match=r"'Early' object has no attribute 'y'; Early.__init__ must call super\(\).__init__\(\) first"):
        Early(3).y


def test_attribute_rules():
    net = Scale()
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'w'"):
        net.w = gpudl.zeros(2)
    net.b = gpudl.ones(2)
    assert dict(net.named_buffers())["b"] is net.b
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'b'"):
        net.b = 3
    net.w = None
    assert net.w is None and list(net.parameters()) == [] and list(net.state_dict()) == ["b"]
    net.w = nn.Parameter(gpudl.zeros(2))
    net.child = Scale()
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as child module 'child'"):
        net.child = gpudl.zeros(1)
    net.child = nn.Parameter(gpudl.zeros(1))  # a parameter takes the place of a module
    assert "child" in dict(net.named_parameters()) and list(net.children()) == []
    del net.child, net.b
    assert not hasattr(net, "child") and not hasattr(net, "b")
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'nothing'"):
        net.nothing
    net.plain = 5
    net.plain = Scale()  # nor does a plain attribute hide one
    assert "plain" not in vars(net) and list(net.children()) == [net.plain]


@pytest.mark.parametrize("register", ["register_parameter", "register_buffer", "add_module"])
def test_registration_names(register):
    net = Scale()
    with pytest.raises(KeyError, match="name can.*t contain"):
        getattr(net, register)("a.b", None)
    with pytest.raises(KeyError, match="name can.*t be empty"):
        getattr(net, register)("", None)
    with pytest.raises(KeyError, match="attribute .*forward.* already exists"):
        getattr(net, register)("forward", None)
    with pytest.raises(TypeError, match="name should be a string"):
        getattr(net, register)(3, None)
    with pytest.raises(TypeError):
        getattr(net, register)("x", 3)


def test_parameter():
    data = gpudl.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and isinstance(p, gpudl.Tensor)
    assert repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    data.fill_(4)
    assert array(p).tolist() == [4, 4]  # shared
    assert nn.Parameter((p * 2).detach()).is_leaf and nn.Parameter(p * 2).is_leaf
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="Parameter: data must be a Tensor, not ndarray"):
        nn.Parameter(np.zeros(3))
    with pytest.raises(RuntimeError, match="floating"):
        nn.Parameter(gpudl.tensor([1, 2]))
    again = pickle.loads(pickle.dumps(p))
    assert type(again) is nn.Parameter and again.requires_grad and array(again).tolist() == [4, 4]


def test_modes_and_freezing():
    net = Two()
    assert net.eval() is net and not net.second.training
    assert net.train().first.training
    with pytest.raises(ValueError, match="boolean"):
        net.train(1)
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(gpudl.ones(2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all((array(p.grad) == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_apply_goes_children_first():
    order = []
    net = Two()
    assert net.apply(lambda m: order.append(m)) is net
    assert order == [net.first, net.second, net]


def test_forward_is_required():
    with pytest.raises(NotImplementedError, match='missing the required "forward"'):
        nn.Module()(1)


# ----------------------------------------------------------------------------------------------------------------------- moving
def test_to_keeps_identity_and_casts_gradients():
    net = Two()
    net.first.register_buffer("count", gpudl.tensor(3))
    before = list(net.parameters())
    net(gpudl.ones(2)).sum().backward()
    assert net.double() is net
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert net.first.w.dtype == net.first.w.grad.dtype == net.first.b.dtype == gpudl.float64
    assert net.first.count.dtype == gpudl.int64
    y = net(gpudl.ones(2, dtype=gpudl.float64))
    assert y.dtype == gpudl.float64
    y.sum().backward()  # adds to the gradient that was cast
    np.testing.assert_allclose(array(net.second.w.grad), 2 * np.array([3.0, 2.0]))
    for name, dtype in (("half", gpudl.float16), ("bfloat16", gpudl.bfloat16), ("float", gpudl.float32)):
        assert getattr(net, name)().second.w.dtype == dtype
    net.to(gpudl.ones(1, dtype=gpudl.float64))
    assert net.first.w.dtype == gpudl.float64
    net.to("cpu", gpudl.float32)
    net.to(device="cpu", dtype=gpudl.float64)
    assert net.first.w.dtype == gpudl.float64
    with pytest.raises(TypeError, match="only accepts floating"):
        net.to(gpudl.int64)
    with pytest.raises(TypeError, match="unknown argument 'colour'"):
        net.to(colour=1)
    with pytest.raises(gpudl.DeviceError, match="not known"):
        net.to("gpu")


# ------------------------------------------------------------------------------------------------------------------------ state
def test_state_dict_order_prefix_and_sharing():
    net = Two()
    state = net.state_dict()
    assert type(state) is OrderedDict and list(state) == ["first.w", "first.b", "second.w", "second.b"]
    assert not state["first.w"].requires_grad and not isinstance(state["first.w"], nn.Parameter)
    with gpudl.no_grad():
        net.first.w.fill_(9)
    assert array(state["first.w"]).tolist() == [9, 9]
    assert list(net.state_dict(prefix="net.")) == ["net.first.w", "net.first.b", "net.second.w", "net.second.b"]
    assert net.state_dict(keep_vars=True)["first.w"] is net.first.w
    into = {}
    assert net.state_dict(destination=into) is into and len(into) == 4


def test_load_casts_and_keeps_identity():
    net = Two()
    w = net.first.w
    given = {"first.w": np.array([1, 2]), "first.b": gpudl.tensor([3.0, 4.0], dtype=gpudl.float64), "second.w": [5, 6], "second.b": np.zeros(2)}
    result = net.load_state_dict(given)
    assert repr(result) == "<All keys matched successfully>"
    assert net.first.w is w and w.dtype == gpudl.float32 and w.requires_grad and w.is_leaf
    assert array(w).tolist() == [1, 2] and array(net.first.b).tolist() == [3, 4] and array(net.second.w).tolist() == [5, 6]
    given["first.b"].fill_(0)
    assert array(net.first.b).tolist() == [3, 4]  # copied, not shared


def test_load_names_everything_and_writes_nothing():
    net = Two()
    before = {k: array(v).copy() for k, v in net.state_dict().items()}
    wrong = {"first.w": np.zeros(2), "first.b": np.zeros(3), "second.w": np.zeros((1, 2)), "other": 1, "more": 2}
    with pytest.raises(RuntimeError) as info:
        net.load_state_dict(wrong)
    message = str(info.value)
    assert message.splitlines()[0] == "Error(s) in loading state_dict for Two:"
    assert 'Missing key(s) in state_dict: "second.b".' in message
    assert 'Unexpected key(s) in state_dict: "other", "more".' in message
    assert "size mismatch for first.b: copying a param with shape (3,) from checkpoint, the shape in current model is (2,)." in message
    assert "size mismatch for second.w" in message
    assert all((array(v) == before[k]).all() for k, v in net.state_dict().items())
    with pytest.raises(RuntimeError, match="size mismatch for first.b"):  # sizes matter without strict too
        net.load_state_dict(wrong, strict=False)
    assert all((array(v) == before[k]).all() for k, v in net.state_dict().items())
    with pytest.raises(RuntimeError, match='"first.w" is a str'):
        net.load_state_dict({**net.state_dict(), "first.w": "no"})
    with pytest.raises(TypeError, match="expected a mapping"):
        net.load_state_dict([1])
    result = net.load_state_dict({"first.w": np.zeros(2), "other": 1}, strict=False)
    assert result.missing_keys == ["first.b", "second.w", "second.b"] and result.unexpected_keys == ["other"]
    assert array(net.first.w).tolist() == [0, 0]


def test_load_assign():
    net = Two()
    state = {k: v.double() for k, v in Two().state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert isinstance(net.first.w, nn.Parameter) and net.first.w.dtype == gpudl.float64 and net.first.w.requires_grad
    assert net.first.b is state["first.b"]
    with pytest.raises(RuntimeError, match="assign=True needs a Tensor"):
        net.load_state_dict({k: array(v) for k, v in state.items()}, assign=True)


def test_loading_is_seen_by_a_graph_that_needs_the_old_value():
    net = Scale()
    x = gpudl.ones(2, requires_grad=True)
    y = (net(x) * net.w).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_extra_state():
    class Counter(nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = nn.Sequential(Counter()), nn.Sequential(Counter())
    a[0].count = 5
    state = a.state_dict()
    assert list(state) == ["0._extra_state"]
    b.load_state_dict(state)
    assert b[0].count == 5
    with pytest.raises(RuntimeError, match='Missing key.*"0._extra_state"'):
        b.load_state_dict({})


def test_deepcopy_and_pickle():
    net = nn.Sequential(Two(), nn.Identity())
    x = gpudl.tensor([1.0, 2.0])
    y = array(net(x))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state_dict()) == list(net.state_dict())
        assert (array(other(x)) == y).all()
        with gpudl.no_grad():
            other[0].first.w.zero_()
        assert not (array(other(x)) == y).all() and (array(net(x)) == y).all()


# ------------------------------------------------------------------------------------------------------------------------ hooks
def test_forward_hooks():
    net, log = Scale(), []
    pre = net.register_forward_pre_hook(lambda m, args: log.append("pre") or (args[0] * 10,))
    post = net.register_forward_hook(lambda m, args, out: log.append(array(args[0]).tolist()) or out + 100)
    net.register_forward_pre_hook(lambda m, args: log.append("first"), prepend=True)
    assert array(net(gpudl.ones(2))).tolist() == [121, 129]
    assert log == ["first", "pre", [10, 10]]
    pre.remove(), post.remove()
    assert array(net(gpudl.ones(2))).tolist() == [3, 2]


def test_hooks_with_kwargs():
    class Add(nn.Module):
        def forward(self, x, *, y):
            return x + y

    net, seen = Add(), []
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"y": kwargs["y"] * 2}), with_kwargs=True)
    net.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs["y"]), with_kwargs=True)
    assert net(1, y=3) == 7 and seen == [6]
    net.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="must return None or"):
        net(1, y=3)


def test_always_call():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("broken")

    net, seen = Broken(), []
    net.register_forward_hook(lambda m, a, o: seen.append("never"))
    net.register_forward_hook(lambda m, a, o: seen.append(o), always_call=True)
    with pytest.raises(ValueError, match="broken"):
        net(1)
    assert seen == [None]


def test_full_backward_hooks():
    net, seen = Two(), []
    net.first.register_full_backward_hook(lambda m, gi, go: seen.append((m, array(gi[0]).tolist(), array(go[0]).tolist())))
    net.second.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    net.second.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    x = gpudl.tensor([1.0, 1.0], requires_grad=True)
    net(x).sum().backward()
    assert array(x.grad).tolist() == [2 * 5 * 10 * 2, 3 * 7 * 10 * 2]
    assert array(net.second.w.grad).tolist() == [2 * 3, 2 * 2]
    assert seen == [(net.first, [200, 420], [100, 140])]


def test_backward_hook_without_an_input_gradient():
    net, seen = Scale(), []
    net.register_full_backward_hook(lambda m, gi, go: seen.append((gi, array(go[0]).tolist())))
    net(gpudl.ones(2)).sum().backward()
    assert seen == [((None,), [1, 1])] and net.w.grad is not None


def test_backward_hook_with_several_inputs_and_outputs():
    class Swap(nn.Module):
        def forward(self, a, label, b):
            return b * 3, label, a * 2

    net, seen = Swap(), []
    net.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go)) or (gi[0] * 10, None, gi[2] * 100))
    a, b = gpudl.ones(2, requires_grad=True), gpudl.ones(3, requires_grad=True)
    out_b, label, out_a = net(a, "x", b)
    assert label == "x"
    (out_a.sum() + out_b.sum()).backward()
    assert array(a.grad).tolist() == [20, 20] and array(b.grad).tolist() == [300, 300, 300]
    (gi, go), = seen
    assert gi[1] is None and go[1] is None and array(go[0]).tolist() == [1, 1, 1]
    net = Swap()
    net.register_full_backward_hook(lambda m, gi, go: (gi[0],))
    with pytest.raises(RuntimeError, match=r"returned 1 gradient\(s\); the module has 3 input"):
        net(a, "x", b)[0].sum().backward()


def test_backward_hooks_with_create_graph():
    net = Scale()
    net.register_full_backward_hook(lambda m, gi, go: (gi[0] * gi[0],))
    x = gpudl.tensor([1.0, 2.0], requires_grad=True)
    (g,) = gpudl.autograd.grad(net(x).sum(), x, create_graph=True)  # w * w
    assert array(g).tolist() == [4, 9]
    g.sum().backward()
    assert array(net.w.grad).tolist() == [4, 6]


# ------------------------------------------------------------------------------------------------------------------------- repr
def test_repr():
    assert repr(Two()) == "Two(\n  (first): Scale()\n  (second): Scale()\n)"
    assert repr(nn.Sequential()) == "Sequential()"
    net = nn.Sequential(OrderedDict([("a", nn.Sequential(nn.Identity())), ("b", nn.ModuleList([Scale(), Scale(), nn.Identity()]))]))
    assert repr(net) == (
        "Sequential(\n  (a): Sequential(\n    (0): Identity()\n  )\n  (b): ModuleList(\n    (0-1): 2 x Scale()\n    (2): Identity()\n  )\n)"
    )


# ------------------------------------------------------------------------------------------------------------------- containers
def test_sequential():
    a, b, c = Scale(), nn.Identity(), Scale()
    net = nn.Sequential(a, b)
    assert len(net) == 2 and net[0] is a and net[-1] is b and list(net) == [a, b]
    net.append(c)
    assert net[1:][1] is c and list(net[1:].state_dict()) == ["2.w", "2.b"]  # a slice keeps names, as in PyTorch
    net[1] = c
    assert net[1] is c
    del net[0]
    assert list(net.state_dict()) == ["0.w", "0.b", "1.w", "1.b"]
    net.insert(0, b)
    assert net[0] is b and net.pop(0) is b and len(net) == 2
    net.extend([a, b])
    assert len(net + nn.Sequential(a)) == 5
    with pytest.raises(IndexError, match="index 9 is out of range"):
        net[9]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(3)
    named = nn.Sequential(OrderedDict([("one", a), ("two", b)]))
    assert named.one is a and list(named.state_dict()) == ["one.w", "one.b"] and named[1] is b
    x = gpudl.ones(2)
    assert (array(nn.Sequential()(x)) == 1).all() and array(nn.Sequential(a, c)(x)).tolist() == [7, 5]


def test_module_list_and_dict():
    a, b, c = Scale(), Scale(), nn.Identity()
    layers = nn.ModuleList([a])
    layers.append(b)
    layers += [c]
    assert len(layers) == 3 and layers[-1] is c and list(layers[:2]) == [a, b] and [m for m in layers] == [a, b, c]
    layers.insert(1, c)
    assert layers[1] is c and layers.pop(1) is c and layers[1] is b
    layers[0] = c
    del layers[1]
    assert list(layers) == [c, c] and len(list(layers.parameters())) == 0
    with pytest.raises(NotImplementedError):
        layers(1)
    named = nn.ModuleDict({"a": a, "b": b})
    named["c"] = c
    assert list(named) == ["a", "b", "c"] and "a" in named and named["b"] is b and len(named) == 3
    assert list(named.state_dict()) == ["a.w", "a.b", "b.w", "b.b"]
    assert named.pop("a") is a and list(named.keys()) == ["b", "c"] and list(named.values()) == [b, c]
    named.update([("d", a)])
    del named["d"]
    named.clear()
    assert len(named) == 0


def test_parameter_list_and_dict():
    p = nn.Parameter(gpudl.zeros(2, 3))
    values = nn.ParameterList([p, gpudl.ones(1)])
    assert len(values) == 2 and values[0] is p and isinstance(values[1], nn.Parameter) and isinstance(values[-1], nn.Parameter)
    assert list(values.state_dict()) == ["0", "1"] and len(list(values)) == 2
    assert "Parameter containing: [float32 of size 2x3]" in repr(values)
    named = nn.ParameterDict({"a": p, "b": gpudl.ones(1)})
    named["note"] = "text"
    assert list(named.keys()) == ["a", "b", "note"] and named["a"] is p and "b" in named and named.get("z") is None
    assert list(named.state_dict()) == ["a", "b"]
    del named["a"]
    assert len(named) == 2 and [k for k, _ in named.items()] == ["b", "note"]
    with pytest.raises(KeyError, match="name of a method"):
        named["forward"] = p


# ----------------------------------------------------------------------------------------------------------------------- layers
def test_the_lectures_class():
    """The class on the page "PyTorch: Neural Network Module", with the last line put under `def forward`."""

    class NNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(
                nn.Linear(2, 2),
                nn.Sigmoid(),
                nn.Linear(2, 1),
                nn.Sigmoid(),
            )

        def forward(self, x):
            x = self.model(x.float())

            return x

    net = NNet()
    assert repr(net) == (
        "NNet(\n  (model): Sequential(\n    (0): Linear(in_features=2, out_features=2, bias=True)\n    (1): Sigmoid()\n"
        "    (2): Linear(in_features=2, out_features=1, bias=True)\n    (3): Sigmoid()\n  )\n)"
    )
    net.load_state_dict({"model.0.weight": [[1, 2], [3, 4]], "model.0.bias": [0, -1], "model.2.weight": [[5, -6]], "model.2.bias": [1]})
    y = net(gpudl.tensor([[0.5, -0.25], [1.0, 1.0]], dtype=gpudl.float64))  # .float() inside

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    h = sigmoid(np.array([[0.5, -0.25], [1.0, 1.0]]) @ np.array([[1, 3], [2, 4]]) + [0, -1])
    assert y.dtype == gpudl.float32 and y.shape == (2, 1)
    np.testing.assert_allclose(array(y), sigmoid(h @ [[5], [-6]] + 1), rtol=1e-5)
    y.sum().backward()
    assert all(p.grad is not None and np.isfinite(array(p.grad)).all() for p in net.parameters())


def test_layer_errors():
    for make, message in (
        (lambda: nn.Embedding(3, 4, max_norm=1.0), "max_norm=1.0 is not supported"),
        (lambda: nn.Unflatten("name", (2, 3)), "named dimensions are not supported"),
        (lambda: nn.ConvTranspose2d(1, 1, 2)(gpudl.ones(1, 1, 3, 3), output_size=(5, 5)), "output_size is not supported"),
    ):
        with pytest.raises(NotImplementedError, match=message):
            make()
    for make, message in (
        (lambda: nn.Conv2d(1, 1, 1, padding_mode="mirror"), "Conv2d: padding_mode 'mirror' is not known; there are 'zeros', 'reflect'"),
        (lambda: nn.Conv1d(1, 1, 3, stride=2, padding="same"), r"Conv1d: padding='same' needs stride 1, not \(2,\)"),
        (lambda: nn.Conv1d(1, 1, 3)(gpudl.ones(1, 1, 2, 5)), r"conv1d: input is \(1, 1, 2, 5\); \(N, C, L\) or \(C, L\) is needed"),
        (lambda: nn.Conv2d(1, 1, 3, padding=3, padding_mode="reflect")(gpudl.ones(1, 1, 3, 3)), "pad: mode 'reflect' with widths .* needs more"),
        (lambda: nn.functional.max_pool1d(gpudl.ones(1, 2, 4), (2, 2)), r"max_pool1d: kernel_size must be an integer or a tuple of one, not \(2, 2\)"),
        (lambda: nn.functional.local_response_norm(gpudl.ones(2, 3), 2), r"local_response_norm: input is \(2, 3\); at least 3 dimensions"),
        (lambda: nn.functional.local_response_norm(gpudl.ones(2, 3, 4), 0), "size must be an integer of at least 1, not 0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "in_channels = 3 must be divisible by groups = 2"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "out_channels = 3 must be divisible"),
        (lambda: nn.Conv2d(3, 4, 3, groups=0), "groups must be a positive integer"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding 'full' is not known"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), "padding='same' needs stride 1"),
        (lambda: nn.Dropout(1.5), "between 0 and 1, not 1.5"),
        (lambda: nn.GroupNorm(2, 3), "must be divisible by num_groups"),
        (lambda: nn.Maxout(2, 3, pieces=0), "pieces must be at least 1"),
        (lambda: nn.Hardtanh(1.0, -1.0), "must be larger than min_val"),
        (lambda: nn.Embedding(3, 4, padding_idx=3), "padding_idx 3 must be within"),
        (lambda: nn.BatchNorm2d(3)(gpudl.ones(2, 3)), r"BatchNorm2d: expected 4D input \(got 2D input of shape \(2, 3\)\)"),
        (lambda: nn.BatchNorm1d(3)(gpudl.ones(3)), "expected 2D or 3D input"),
        (lambda: nn.BatchNorm2d(3)(gpudl.ones(2, 4, 5, 5)), "one value a channel"),
        (lambda: nn.Linear(3, 2)(gpudl.ones(2, 4)), r"input.shape\[-1\] = 4 must equal weight.shape\[-1\] = 3"),
        (lambda: nn.LayerNorm(3)(gpudl.ones(2, 4)), "its last dimensions must be normalized_shape"),
        (lambda: nn.GroupNorm(2, 4)(gpudl.ones(2, 3)), "channels must be divisible by num_groups = 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_dtype_and_device_of_a_layer():
    layer = nn.Linear(3, 2, dtype=gpudl.float64, device="cpu")
    assert layer.weight.dtype == layer.bias.dtype == gpudl.float64
    norm = nn.BatchNorm2d(3, dtype=gpudl.float64)
    assert norm.running_var.dtype == gpudl.float64 and norm.num_batches_tracked.dtype == gpudl.int64


def test_batch_norm_counts_and_averages():
    norm = nn.BatchNorm1d(2, momentum=None, affine=False)
    batches = np.random.default_rng(0).normal(size=(3, 8, 2))
    for i, x in enumerate(batches):
        norm(gpudl.tensor(x, dtype=gpudl.float32))
        assert norm.num_batches_tracked.item() == i + 1
        np.testing.assert_allclose(array(norm.running_mean), batches[: i + 1].mean((0, 1)), rtol=1e-4, atol=1e-6)
    norm.num_batches_tracked.zero_()  # someone else's write is noticed: the next batch alone counts
    norm(gpudl.tensor(batches[0], dtype=gpudl.float32))
    np.testing.assert_allclose(array(norm.running_mean), batches[0].mean(0), rtol=1e-4, atol=1e-6)
    norm.load_state_dict({**norm.state_dict(), "num_batches_tracked": np.array(1)})
    other = copy.deepcopy(norm)
    other(gpudl.tensor(batches[1], dtype=gpudl.float32))
    np.testing.assert_allclose(array(other.running_mean), batches[:2].mean((0, 1)), rtol=1e-4, atol=1e-6)
    before = array(norm.running_mean).copy()
    norm.eval()(gpudl.ones(4, 2))
    assert (array(norm.running_mean) == before).all() and norm.num_batches_tracked.item() == 1
    norm.train().reset_running_stats()
    assert norm.num_batches_tracked.item() == 0 and (array(norm.running_var) == 1).all()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(gpudl.ones(1, 2))
    assert norm.num_batches_tracked.item() == 0  # bad input counts as no batch


def test_dropout_module():
    gpudl.manual_seed(0)
    layer, x = nn.Dropout(0.25), gpudl.ones(100, 100)
    y = array(layer(x))
    assert set(np.unique(y).tolist()) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.03  # 7 standard deviations of 10,000 draws
    assert (array(layer.eval()(x)) == 1).all()
    assert (array(nn.Dropout(1.0)(x)) == 0).all() and (array(nn.Dropout(0.0)(x)) == 1).all()


def test_embedding():
    layer = nn.Embedding(5, 3, padding_idx=-1)
    assert layer.padding_idx == 4 and (array(layer.weight)[4] == 0).all() and repr(layer) == "Embedding(5, 3, padding_idx=4)"
    index = gpudl.tensor([[0, 4], [2, 0]])
    y = layer(index)
    assert y.shape == (2, 2, 3) and (array(y) == array(layer.weight)[array(index)]).all()
    dy = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    y.backward(gpudl.tensor(dy))
    g = array(layer.weight.grad)
    np.testing.assert_allclose(g[0], dy[0, 0] + dy[1, 1], rtol=1e-6)
    assert (g[[1, 3, 4]] == 0).all() and (g[2] == dy[1, 0]).all()


def test_maxout():
    rng = np.random.default_rng(0)
    layer = nn.Maxout(4, 3, pieces=2).double()
    assert repr(layer) == "Maxout(in_features=4, out_features=3, pieces=2, bias=True)"
    x = rng.normal(size=(5, 4))
    z = (x @ array(layer.weight).T + array(layer.bias)).reshape(5, 3, 2)
    np.testing.assert_allclose(array(layer(gpudl.tensor(x))), z.max(-1), rtol=1e-12)
    layer(gpudl.tensor(x)).sum().backward()
    assert np.isfinite(array(layer.weight.grad)).all()


def test_softmax_without_dim_is_pytorchs_choice():
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(2, 3, 4)))
    with pytest.warns(UserWarning, match="softmax: the dimension is not given"):
        np.testing.assert_allclose(array(nn.Softmax()(x)).sum(0), np.ones((3, 4)))
    with pytest.warns(UserWarning):
        np.testing.assert_allclose(array(nn.functional.softmax(x[0])).sum(1), np.ones(3))


# ----------------------------------------------------------------------------------------------------------------------- fusion
def conv_net():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1),
        nn.ReLU(), nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.BatchNorm1d(4),
        nn.ReLU(inplace=True), nn.Linear(4, 3),
    )  # fmt: skip


FUSED = ["conv2d_relu_max_pool2d", "conv2d_relu", "linear_act", "batch_norm_relu"]


def used(net, x):
    """Names of the ops in the graph of net(x), oldest first."""
    return [node.name for node in gpudl.autograd.nodes(net(x))][::-1]


@pytest.fixture
def calls(monkeypatch):
    """How often each fused op was called."""
    counts = dict.fromkeys(FUSED, 0)
    for name in FUSED:
        inner = getattr(gpudl.ops, name)

        def counting(*args, name=name, inner=inner, **kwargs):
            counts[name] += 1
            return inner(*args, **kwargs)

        monkeypatch.setattr(gpudl.ops, name, counting)
    return counts


@pytest.mark.parametrize("training", [True, False])
def test_fused_equals_unfused(calls, training):
    rng = np.random.default_rng(0)
    net = conv_net().double().train(training)
    twin = copy.deepcopy(net)
    x, dy = rng.normal(size=(6, 2, 8, 8)), gpudl.tensor(rng.normal(size=(6, 3)))
    a, b = gpudl.tensor(x, requires_grad=True), gpudl.tensor(x, requires_grad=True)
    for _ in range(2):
        y = net(a)
        y.backward(dy)
        fused = dict(calls)
        with nn.set_fusion_enabled(False):
            z = twin(b)
        z.backward(dy)
        assert calls == fused  # nothing fused without fusion
        np.testing.assert_allclose(array(y), array(z), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(array(a.grad), array(b.grad), rtol=1e-10, atol=1e-12)
    assert calls == {"conv2d_relu_max_pool2d": 2, "conv2d_relu": 2, "linear_act": 6, "batch_norm_relu": 4}
    for (name, p), q in zip(net.named_parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(array(p.grad), array(q.grad), rtol=1e-9, atol=1e-12, err_msg=name)
    for name, value in twin.state_dict().items():
        np.testing.assert_allclose(array(net.state_dict()[name]), array(value), rtol=1e-12, err_msg=name)
    assert net[4].num_batches_tracked.item() == (2 if training else 0)


@pytest.mark.parametrize("dtype", [gpudl.float32, gpudl.float16, gpudl.bfloat16])
def test_fused_results_are_equal_in_every_dtype(dtype):
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 5), nn.Sigmoid(), nn.Linear(5, 4), nn.Tanh()).to(dtype)
    x = gpudl.tensor(np.random.default_rng(0).normal(size=(7, 6)), dtype=dtype)
    y = net(x)
    with nn.set_fusion_enabled(False):
        z = net(x)
    assert (array(y) == array(z)).all()


def test_fusion_with_gradients_of_gradients():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.Tanh()).double()
    results = []
    for mode in (True, False):
        x = gpudl.tensor(rng.normal(size=(2, 1, 6, 6)) if not results else results[0][0], requires_grad=True)
        with nn.set_fusion_enabled(mode):
            (g,) = gpudl.autograd.grad((net(x) ** 2).sum(), x, create_graph=True)
            (g * g).sum().backward()
        results.append((array(x), array(x.grad)))
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("member", [0, 1, 2])
@pytest.mark.parametrize("hook", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_a_hook_registered_later_is_honoured(calls, member, hook):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    x = gpudl.ones(1, 1, 6, 6, requires_grad=True)
    expected = array(net(x))
    assert calls["conv2d_relu_max_pool2d"] == 1
    seen = []
    handle = getattr(net[member], f"register_{hook}")(lambda *args: seen.append(args))
    y = net(x)
    y.sum().backward()
    assert len(seen) == 1 and calls["conv2d_relu_max_pool2d"] == 1 and (array(y) == expected).all()
    handle.remove()
    net(x)
    assert len(seen) == 1 and calls["conv2d_relu_max_pool2d"] == 2


def test_what_keeps_modules_apart(calls):
    class MyReLU(nn.ReLU):
        def forward(self, x):
            return x * 0 + 7

    x = gpudl.ones(2, 3)
    assert (array(nn.Sequential(nn.Linear(3, 2), MyReLU())(x)) == 7).all()
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    net(x)
    assert calls["linear_act"] == 1
    net[1].forward = lambda v: v * 0 + 5  # the instance's own
    assert (array(net(x)) == 5).all()
    net[1] = nn.Identity()  # the plan follows the modules
    np.testing.assert_allclose(array(net(x)), array(nn.functional.linear(x, net[0].weight, net[0].bias)))
    net.append(nn.ReLU())
    net[1] = nn.Linear(2, 2)
    net(x)
    assert calls["linear_act"] == 2
    pool = nn.MaxPool2d(2, return_indices=True)
    y, at = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), pool)(gpudl.ones(1, 1, 4, 4))
    assert calls["conv2d_relu_max_pool2d"] == 0 and at.shape == y.shape == (1, 1, 2, 2)


def test_a_picked_rung_is_launched(calls):
    """`kernels.use` of a ladder that the fused op goes past keeps the modules apart; of one that it launches, it does not."""
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3), nn.ReLU()), gpudl.ones(1, 1, 6, 6)
    with gpudl.kernels.use("max_pool2d.forward", 0):
        net(x)
    assert calls["conv2d_relu_max_pool2d"] == 0 and calls["conv2d_relu"] == 1 and calls["linear_act"] == 1
    with gpudl.kernels.use("unary.forward", 0):
        net(x)
    assert calls["conv2d_relu"] == 1 and calls["linear_act"] == 1
    with gpudl.kernels.use("matmul.forward", 0):
        net(x)
    assert calls["conv2d_relu_max_pool2d"] == 1 and calls["linear_act"] == 2


@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch(training):
    net = conv_net().train(training)
    x = gpudl.zeros(0, 2, 8, 8, requires_grad=True)
    for mode in (True, False):
        with nn.set_fusion_enabled(mode):
            y = net(x)
        assert y.shape == (0, 3)
        y.sum().backward()
        assert x.grad.shape == (0, 2, 8, 8) and all((array(p.grad) == 0).all() for p in net.parameters())


def test_a_state_goes_through_a_file(tmp_path):
    net, other = conv_net(), conv_net()
    gpudl.save(net.state_dict(), tmp_path / "net.safetensors")
    assert repr(other.load_state_dict(gpudl.load(tmp_path / "net.safetensors"))) == "<All keys matched successfully>"
    x = gpudl.ones(2, 2, 8, 8)
    assert (array(net.eval()(x)) == array(other.eval()(x))).all()
    with pytest.raises(RuntimeError, match=r'Missing key.*"0.bias".*\n.*Unexpected key.*"17.weight"'):
        nn.Sequential(nn.Linear(3, 2)).load_state_dict({"17.weight": np.zeros(1), "0.weight": np.zeros((2, 3))})


def test_fusion_switch(calls):
    net, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), gpudl.ones(2, 3)
    assert nn.is_fusion_enabled()
    with nn.set_fusion_enabled(False):
        assert not nn.is_fusion_enabled()
        with nn.set_fusion_enabled(True):
            net(x)
        net(x)
    assert calls["linear_act"] == 1 and nn.is_fusion_enabled()

    @nn.set_fusion_enabled(False)
    def apart():
        return nn.is_fusion_enabled()

    assert nn.is_fusion_enabled() and not apart() and nn.is_fusion_enabled()
    nn.set_fusion_enabled(False)
    assert not nn.is_fusion_enabled()
    nn.set_fusion_enabled(True)


def test_a_copied_network_runs_its_own_modules():
    net, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), gpudl.ones(2, 3)
    net(x)  # the plan exists
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        with gpudl.no_grad():
            other[0].weight.zero_(), other[0].bias.fill_(3)
        assert (array(other(x)) == 3).all()
    assert list(net.state_dict()) == ["0.weight", "0.bias"]


# ------------------------------------------------------------------------------------------------------- kernels, in the emulator
@pytest.mark.emulator
@pytest.mark.parametrize("fusion", [True, False])
def test_a_network_on_the_kernel_path(fusion):
    """Two training steps in the emulator: outputs, gradients, statistics and weights as on the CPU."""
    rng = np.random.default_rng(0)
    gpudl.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16, 5), nn.Tanh(), nn.Dropout(0.0), nn.Linear(5, 3),
    )  # fmt: skip
    twin = copy.deepcopy(net).to("emulator")
    assert all(p.device.type == "emulator" for p in twin.parameters()) and str(twin) == str(net)
    models = (net, twin)
    optimizers = [gpudl.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in models]
    with nn.set_fusion_enabled(fusion):
        for _ in range(2):
            x, t = rng.normal(size=(3, 1, 6, 6)).astype(np.float32), np.array([0, 2, 1])
            losses = []
            for m, optimizer in zip(models, optimizers, strict=True):
                where = next(m.parameters()).device
                optimizer.zero_grad()
                loss = nn.CrossEntropyLoss()(m(gpudl.tensor(x, device=where)), gpudl.tensor(t, device=where))
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for key, value in twin.state_dict().items():
        assert value.device.type == "emulator"
        np.testing.assert_allclose(array(value), array(net.state_dict()[key]), rtol=1e-4, atol=1e-5, err_msg=key)
    net.load_state_dict(twin.state_dict())  # from another device
    assert all(p.device.type == "cpu" for p in net.parameters())
    with pytest.raises(gpudl.DeviceError, match="must be on one device"):
        twin(gpudl.ones(3, 1, 6, 6))


@pytest.mark.emulator
def test_inits_and_embedding_on_the_kernel_path():
    for name in ("trunc_normal_", "orthogonal_", "eye_", "kaiming_normal_"):
        a = gpudl.empty(5, 4, device="emulator")
        assert np.isfinite(array(getattr(nn.init, name)(a))).all()
    gpudl.manual_seed(1)
    here = nn.Linear(5, 4)
    gpudl.manual_seed(1)
    there = nn.Linear(5, 4, device="emulator")
    assert (array(here.weight) == array(there.weight)).all()  # the same uniform numbers on every device
    layer = nn.Embedding(5, 3, padding_idx=1, device="emulator")
    y = layer(gpudl.tensor([[0, 1], [2, 0]], device="emulator"))
    y.sum().backward()
    assert array(layer.weight.grad)[:, 0].tolist() == [2, 0, 1, 0, 0]


# ----------------------------------------------------------------------------------------------- what the lecture experiments with
@pytest.mark.parametrize("trick", ["momentum", "adam", "weight penalty", "dropout", "batch norm", "residual", "maxout", "no activation"])
def test_the_lectures_experiments_run(trick):
    """Each lowers the loss on points that a line does not separate, save the network without activations."""
    gpudl.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2)).astype(np.float32)
    y = gpudl.tensor((x[:, 0] * x[:, 1] > 0).astype(np.int64))
    x = gpudl.tensor(x)
    middle = nn.Sequential(nn.Linear(16, 16), nn.ReLU())

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = middle

        def forward(self, x):
            return x + self.inner(x)

    extra = {"dropout": [nn.Dropout(0.2)], "batch norm": [nn.BatchNorm1d(16)], "residual": [Residual()], "maxout": [nn.Maxout(16, 16, 3)]}
    activation = nn.Identity if trick == "no activation" else nn.ReLU
    net = nn.Sequential(nn.Linear(2, 16), activation(), *extra.get(trick, [nn.Linear(16, 16), activation()]), nn.Linear(16, 2))
    if trick == "adam":
        optimizer = gpudl.optim.Adam(net.parameters(), lr=0.02)
    else:
        optimizer = gpudl.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        losses.append(loss.item())
        if trick == "weight penalty":
            loss = loss + 1e-3 * sum((m.weight**2).sum() for m in net.modules() if isinstance(m, nn.Linear))
        loss.backward()
        optimizer.step()
    assert losses[-1] > 0.5 if trick == "no activation" else losses[-1] < 0.35


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_weight_norm_trains_length_and_direction_apart(device: str) -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 1, bias=False)).to(device)
    layer.weight = gpudl.tensor([[3.0, 4.0]])
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    assert g.tolist() == [[5.0]] and v.tolist() == [[3.0, 4.0]]
    with gpudl.no_grad():
        v.mul_(10)  # the direction alone counts
        g.fill_(10)
    y = layer(gpudl.tensor([[1.0, 1.0]], device=device))
    assert abs(y.item() - 14) <= 1e-5
    y.backward()
    assert abs(g.grad.item() - 1.4) <= 1e-6  # v/|v| . x
    assert abs((v.grad * v).sum().item()) <= 1e-5  # no gradient along v
    twin = copy.deepcopy(layer)
    assert twin.weight.tolist() == layer.weight.tolist() and twin.parametrizations.weight.original1 is not v
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU()).to(device)  # fused, before and after
    x = gpudl.randn(4, 2, device=device)
    before = model(x)
    nn.utils.parametrizations.weight_norm(model[0])
    assert (model(x) - before).abs().max().item() <= 1e-6
    with gpudl.no_grad():
        model[0].parametrizations.weight.original0.zero_()
        model[0].bias.fill_(0.5)
    assert model(x).tolist() == [[0.5] * 3] * 4


def test_messages_of_parametrizations() -> None:
    with pytest.raises(ValueError, match=r"Linear\(.*has no parameter, buffer or parametrized tensor called 'weigth'"):
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2), "weigth")
    with pytest.raises(TypeError, match="parametrization must be a Module, not function"):
        nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", lambda w: w)
    with pytest.raises(ValueError, match=r"forward of a parametrization gives float32\(4,\) for a tensor float32\(2, 2\); .* unsafe=True"):
        nn.utils.parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Flatten(0))
    layer = nn.utils.weight_norm(nn.Linear(2, 2))
    with pytest.raises(RuntimeError, match="weight_norm: 'weight' of Linear.* is normalised already"):
        nn.utils.weight_norm(layer)
    with pytest.raises(ValueError, match="remove_weight_norm: weight_norm of 'bias' not found in Linear"):
        nn.utils.remove_weight_norm(layer, "bias")
    with pytest.raises(IndexError, match=r"weight_norm: dim 2 is out of range for a tensor \(2, 2\)"):
        nn.utils.parametrizations.weight_norm(nn.Linear(2, 2), dim=2)
    with pytest.raises(ValueError, match="'weight' has 2 originals; leave_parametrized=False needs a single one"):
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
        nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    with pytest.raises(ValueError, match=r"a value \(3, 2\) is assigned, for which an original would be \(3, 1\), not \(2, 1\)"):
        layer.weight = gpudl.ones(3, 2)


def test_a_hook_may_rename_what_is_loaded() -> None:
    layer = nn.Linear(2, 2)
    given = {"kernel": gpudl.ones(2, 2), "bias": gpudl.zeros(2)}
    handle = layer.register_load_state_dict_pre_hook(lambda module, state, prefix, *_: state.update({prefix + "weight": state.pop(prefix + "kernel")}))
    layer.load_state_dict(given)
    assert layer.weight.tolist() == [[1, 1], [1, 1]] and "kernel" in given
    nn.Sequential(layer).load_state_dict({"0.kernel": gpudl.zeros(2, 2), "0.bias": gpudl.zeros(2)})
    assert layer.weight.tolist() == [[0, 0], [0, 0]]
    handle.remove()
    with pytest.raises(RuntimeError, match='Missing key.*"weight"'):
        layer.load_state_dict(given)


@pytest.mark.parametrize("device", ["cpu", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_convolution_along_one_axis_is_that_of_images_of_height_one(device: str) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-3, 4, size=s).astype(np.float32) for s in ((2, 4, 9), (6, 2, 3), (6,)))
    tensors = [gpudl.tensor(t, device=device, requires_grad=True) for t in (x, w, b)]
    y = nn.functional.conv1d(*tensors, stride=2, padding=1, groups=2)
    wide = np.pad(x, ((0, 0), (0, 0), (1, 1)))
    want = np.stack([b[k] + sum((wide[:, 2 * (k // 3) : 2 * (k // 3) + 2, s : s + 9 : 2] * w[k, :, s, None]).sum(1) for s in range(3)) for k in range(6)], 1)
    assert y.tolist() == want.tolist()
    dy = rng.integers(-2, 3, size=y.shape).astype(np.float32)
    gx, gw, gb = gpudl.autograd.grad(y, tensors, gpudl.tensor(dy, device=device))
    assert gb.tolist() == dy.sum((0, 2)).tolist()
    assert (gx * tensors[0]).sum().item() == (gw * tensors[1]).sum().item() == ((want - b[None, :, None]) * dy).sum()  # linear in either
    pooled = nn.functional.max_pool1d(tensors[0], 3, 2, return_indices=True)
    assert pooled[0].tolist() == np.maximum(np.maximum(x[..., :-2:2], x[..., 1:-1:2]), x[..., 2::2]).tolist()
    assert np.take_along_axis(x, pooled[1].cpu().numpy(), 2).tolist() == pooled[0].tolist()


def test_a_fused_convolution_keeps_its_padding_mode() -> None:
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")
    x = gpudl.randn(2, 1, 5, 6)
    for model in (nn.Sequential(conv, nn.ReLU()), nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))):
        want = x
        for layer in model:
            want = layer(want)
        assert model(x).tolist() == want.tolist()
    padded = nn.functional.pad(x, (1, 1, 1, 1), "reflect")
    assert conv(x).tolist() == nn.functional.conv2d(padded, conv.weight, conv.bias).tolist()
