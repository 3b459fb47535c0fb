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
