"""PyTorch's side of the comparison: `torch_peer.py THREADS`, with the protocol of answer.mjs."""
import json
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

sys.path.append(str(pathlib.Path(__file__).parents[2] / "test/fixtures"))
from official_model import Cloob  # noqa: E402

torch.set_num_threads(int(sys.argv[1]))


def noise(count, seed, scale=1.0):
    x = 43758.5453 * np.sin(12.9898 * np.arange(count, dtype=np.float64) + 78.233 * seed)
    return (scale * (2 * (x - np.floor(x)) - 1)).astype(np.float32)


def fingerprint(values):
    values = values.detach().numpy().astype(np.float64).ravel()
    return {"dot": float(values @ noise(values.size, 99).astype(np.float64)), "norm": float(np.sqrt(values @ values))}


def block(x, in_weight, in_bias, out_weight, out_bias, w1, b1, fc_weight, fc_bias, proj_weight, proj_bias, w2, b2):
    batch, tokens, width = x.shape
    heads = 4
    projected = F.linear(F.layer_norm(x, [width], w1, b1), in_weight, in_bias)
    q, k, v = (t.view(batch, tokens, heads, -1).transpose(1, 2) for t in projected.chunk(3, -1))
    weights = (q @ k.transpose(-1, -2) / (width / heads) ** 0.5).softmax(-1)
    middle = x + F.linear((weights @ v).transpose(1, 2).reshape(x.shape), out_weight, out_bias)
    hidden = F.linear(F.layer_norm(middle, [width], w2, b2), fc_weight, fc_bias)
    return middle + F.linear(hidden * torch.sigmoid(1.702 * hidden), proj_weight, proj_bias)


def cloob_loss(images, texts):
    def retrieve(state, stored):
        return F.normalize((8 * state @ stored.T).softmax(1) @ stored)

    def loob(x, y):
        logits = 30 * x @ y.T
        others = logits.masked_fill(torch.eye(len(x), dtype=torch.bool), -torch.inf)
        return (others.logsumexp(1) - 30 * (x * y).sum(1)).mean()

    x, y = F.normalize(images), F.normalize(texts)
    return (loob(retrieve(x, x), retrieve(y, x)) + loob(retrieve(y, y), retrieve(x, y))) / 30


def model_of(work):
    """The model of a work, filled as models.mjs fills it."""
    model = Cloob(work["config"])
    parameters = dict(model.named_parameters())
    del parameters["logit_inv_tau"]
    with torch.no_grad():
        for i, name in enumerate(sorted(parameters)):
            shape = list(parameters[name].shape)
            size = int(np.prod(shape))
            values = noise(size, i, (3 * shape[0] / size) ** 0.5 if len(shape) > 1 else 0.1).reshape(shape)
            parameters[name].copy_(torch.from_numpy(values + (len(shape) == 1 and name.endswith("weight"))))
    return model


def training_step(work, images):
    model, config = model_of(work), work["config"]
    length, vocabulary = config["context_length"], config["vocab_size"]
    i = torch.arange(len(images) * length)
    tokens = torch.where(i % length == length - 1, vocabulary - 1, i * 7919 % (vocabulary - 2)).reshape(-1, length)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    images = images.detach()

    def run():
        optimizer.zero_grad()
        loss = cloob_loss(model.visual(images), model.transformer(tokens))
        loss.backward()
        optimizer.step()
        return [loss, model.visual.conv1.weight.grad, model.transformer.token_embedding.weight.grad]

    return run


def embedding(work, images):
    model = model_of(work).eval()

    def run():
        with torch.no_grad():
            return [model.visual(images)]

    return run


MODELS = {"residualStep": training_step, "transformerStep": training_step, "embedding": embedding}
FUNCTIONS = {
    "matmul": torch.matmul,
    "matmulGradients": torch.matmul,
    "conv": lambda x, weight: F.conv2d(x, weight, padding=1),
    "softmax": lambda x: x.softmax(1),
    "layerNorm": lambda x, weight, bias: F.layer_norm(x, [x.shape[-1]], weight, bias),
    "block": block,
    "cloob": cloob_loss,
}


def make(work):
    name = work["name"]
    inputs = [
        torch.from_numpy(noise(int(np.prod(shape)), i, *scale)).reshape(shape).requires_grad_()
        for i, (_, shape, *scale) in enumerate(work["inputs"])
    ]
    if name in MODELS:
        return MODELS[name](work, *inputs)
    cotangent = None
    if "cotangent" in work:
        shape = work["cotangent"]
        cotangent = torch.from_numpy(noise(int(np.prod(shape)), len(inputs))).reshape(shape)

    def run():
        if name == "matmul":
            with torch.no_grad():
                return [FUNCTIONS[name](*inputs)]
        value = FUNCTIONS[name](*inputs)
        return [value, *torch.autograd.grad(value, inputs, cotangent)]

    return run


def measure(run, milliseconds):
    run()
    times = []
    while not times or sum(times) < milliseconds:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1000)
    return times


print(json.dumps({"library": f"PyTorch {torch.__version__}, {torch.get_num_threads()} thread(s)"}), flush=True)
runs = {}
for line in sys.stdin:
    request = json.loads(line)
    name = request["work"]["name"]
    if name not in runs:
        runs[name] = make(request["work"])
    run = runs[name]
    if request.get("check"):
        answer = {"outputs": [fingerprint(output) for output in run()]}
    else:
        answer = {"times": measure(run, request["milliseconds"])}
    print(json.dumps(answer), flush=True)
