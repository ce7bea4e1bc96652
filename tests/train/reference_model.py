"""A small transformer on bytes, written by hand in the form that the compiler emits."""

import math

import torch
from torch import nn
from torch.nn import functional as F

VOCAB = 256
LONGEST = None
BATCH = 256
CLIP = 1.0
WIDTH, HEADS, DEPTH = 32, 2, 2


def rotate(x):  # (B, H, T, D)
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * 1e4 ** (-torch.arange(half) / half)
    cos, sin = angles.cos(), angles.sin()
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, HEADS, C // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.relu(self.up(self.norm2(x))).square())


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.RMSNorm(WIDTH)

    def initialise(self, seed):
        generator = torch.Generator().manual_seed(seed)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.5 / math.sqrt(p.shape[1]), generator=generator)
        return self

    def forward(self, tokens, past=None):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embed.weight)


def loss(logits, y):
    return F.cross_entropy(logits.transpose(1, 2), y, reduction="none")[..., None]


def schedule(t):
    return min(t / 0.02, 1) * (0.1 + 0.45 * (1 + math.cos(math.pi * t)))


def context(t):
    return 32


def optimizers(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return [optimizer]
