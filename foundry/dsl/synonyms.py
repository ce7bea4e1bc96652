"""What papers, PyTorch, JAX and transformers call the functions and arguments of this language."""

from __future__ import annotations

from collections.abc import Iterable

# Names of this language, and what else they are called; case and underscores do not count.
FUNCTIONS: dict[str, str] = {
    "attention": "mha multiheadattention multiheadselfattention selfattention causalselfattention attn gqa mqa sdpa",
    "attend": "scaleddotproductattention dotproductattention flexattention",
    "mlp": "ffn feedforward feedforwardnetwork positionwisefeedforward densenet",
    "glu": "swiglu gatedmlp gatedffn gatedlinearunit swiglumlp",
    "linear": "dense fc proj projection fullyconnected affine",
    "embed": "embedding tokenembedding wte embedtokens",
    "unembed": "lmhead outputhead outputprojection tologits logitsprojection",
    "rope": "rotary rotaryembedding rotaryemb rotaryposition rotarypositionembedding applyrotaryemb applyrope",
    "everything": "causal causalmask iscausal fullattention nomask tril",
    "window": "slidingwindow slidingwindowmask local localmask localattention windowed",
    "dilated": "strided stridedmask dilatedmask",
    "softcap": "logitcap softcapping tanhcap",
    "alibi": "alibibias",
    "relu2": "relusquared squaredrelu sqrelu",
    "gelu_tanh": "gelunew gelupytorchtanh gelufast approximategelu tanhgelu quickgelu",
    "rmsnorm": "rms rootmeansquarenorm llamarmsnorm t5layernorm",
    "layernorm": "ln",
    "conv": "conv1d causalconv causalconv1d shortconv depthwiseconv",
    "concat": "cat concatenate",
    "merge_heads": "joinheads combineheads concatheads mergehead",
    "split_heads": "toheads cutheads splithead",
    "shift": "roll timeshift delay",
    "stop": "detach stopgradient stopgrad nograd",
    "top": "topk",
    "moe": "mixtureofexperts sparsemoe moelayer switch",
    "experts": "expertlayer",
    "mla": "multiheadlatentattention latentattention",
    "differential_attention": "diffattention diffattn differentialtransformer",
    "linear_attention": "lineartransformer linattn",
    "retention": "retnet",
    "delta_attention": "deltanet deltarule",
    "gated_delta_attention": "gateddeltanet",
    "gated_linear_attention": "gla",
    "mamba": "ssm selectivescan s6 mambablock",
    "l2norm": "normalize l2normalize",
    "sinusoidal": "sinusoid sincos sinusoidalembedding sinusoidalpositions",
    "rope_yarn": "yarn",
    "rope_ntk": "ntk ntkrope",
    "recurrence": "rglru griffin",
    "cross_entropy": "crossentropyloss nll nllloss celoss xent",
    "warmup_cosine": "cosine cosineschedule cosinedecay cosineannealing cosineannealinglr cosinewithwarmup",
    "warmup_linear": "lineardecay linearschedule linearwarmup lineardecaywithwarmup polynomialdecay",
    "trapezoid": "wsd warmupstabledecay trapezoidal stabledecay",
    "adamw": "adam sgd rmsprop adagrad adafactor adamax nadam",
    "remainder": "mod fmod modulo",
    "where": "select ifelse cond iff",
    "max": "maximum amax",
    "min": "minimum amin",
    "identity": "noop none nop passthrough",
}

# Arguments of this language, and what else they are called.
ARGUMENTS: dict[str, str] = {
    "heads": "nhead nheads numheads headcount numattentionheads attentionheads qheads queryheads h",
    "kv_heads": "nkvheads numkvheads numkeyvalueheads nkv nquerygroups numquerygroups keyvalueheads groups kheads",
    "head_dim": "dhead headsize dimhead headwidth headdims dk keydim",
    "width": "dim dmodel nembd hiddensize embeddim embeddingdim embedding modeldim size features channels d",
    "vocab": "vocabsize nvocab numembeddings vocabulary vocabularysize numtokens",
    "hidden": "hiddendim hiddensize intermediatesize dff ffndim ffdim dhidden mlpdim innerdim hiddenwidth ninner",
    "out": "outfeatures dimout outdim outputdim outputsize nout dout features size width dim",
    "act": "activation activationfunction hiddenact nonlinearity actfn activationfn",
    "norm": "qknorm normlayer normalization",
    "pos": "position positions positional rotary rope posemb positionembedding posencoding",
    "score": "scoremod scorefn scorefunction attnbias bias",
    "mask": "maskmod maskfn attnmask attentionmask blockmask",
    "theta": "base ropetheta ropebase thetabase rotarybase",
    "bias": "usebias addbias attentionbias qkvbias mlpbias hasbias",
    "kernel": "kernelsize filtersize dconv ksize convkernel",
    "eps": "epsilon layernormeps rmsnormeps normeps",
    "size": "window windowsize slidingwindow length width w span",
    "step": "stride dilation every",
    "cap": "softcap limit maxvalue value",
    "tied": "tie tieweights tiewordembeddings tieembeddings tiedweights shareembeddings weighttying",
    "lr": "learningrate maxlr baselr peaklr rate",
    "decay": "weightdecay wd l2",
    "betas": "beta adambetas",
    "momentum": "mom beta mu",
    "batch": "batchsize tokensperstep batchtokens globalbatchsize tokens",
    "clip": "gradclip clipnorm gradclipnorm gradientclipping maxgradnorm gradnormclip gradnorm",
    "transfer": "mup mutransfer basewidth baseshape mupbasewidth referencewidth dbase",
    "context": "contextlength seqlen sequencelength blocksize maxseqlen ctx nctx maxpositionembeddings",
    "schedule": "scheduler lrschedule lrscheduler lrscheduletype",
    "optimizer": "optim optimiser opt",
    "loss": "lossfn criterion objective lossfunction",
    "warmup": "warmupratio warmupfraction warmupsteps warmupshare",
    "floor": "minlr minratio minlrratio minimum final endfactor",
    "count": "k topk n numselected",
    "by": "shift steps amount n offset",
    "expert": "expertfn f fn function mlp ffn",
    "gates": "router weights routing gate scores probs",
    "per": "axis dim over shape",
    "init": "value initial initvalue default start",
    "interleaved": "interleave rotaryinterleaved",
}

# Arguments elsewhere that no function here needs: everything is causal, reductions are over the channel, and the
# harness owns data, seeds and length of training.
_NEEDLESS = """
    dropout attndropout residdropout pdrop attentiondropout causal iscausal batchfirst dim axis keepdim keepdims device
    dtype inplace training requiresgrad name approximate memoryefficient flash useflash usecache epochs steps maxsteps
    numsteps totalsteps iterations seed infeatures indim inputdim din dimin dmodel nembd embeddim hiddensize paddingidx
    maxlength maxseqlen seqlen layeridx fused foreach amsgrad bf16 precision compile gradientaccumulation numworkers
    dataset data shuffle
"""
NEEDLESS = frozenset(_NEEDLESS.split())


def plain(name: str) -> str:
    """A name without case and underscores."""
    return name.lower().replace("_", "")


def _reversed(table: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for here, elsewhere in table.items():
        for name in elsewhere.split():
            found.setdefault(plain(name), []).append(here)
    return found


_FUNCTIONS_HERE, _ARGUMENTS_HERE = _reversed(FUNCTIONS), _reversed(ARGUMENTS)


def functions_here(name: str) -> list[str]:
    """What a function of another library is called here, best first; often nothing."""
    return _FUNCTIONS_HERE.get(plain(name), [])


def arguments_here(name: str, legal: Iterable[str]) -> list[str]:
    """Those of the legal arguments that are called `name` elsewhere."""
    return [here for here in _ARGUMENTS_HERE.get(plain(name), []) if here in set(legal)]
