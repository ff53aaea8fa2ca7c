"""`wrnexp bench step`: the training step against a plain loop, against the matrix peak, and against a bare step.

Three figures of one run, each side in turn with its other: images/s of the step against a plain float32 loop around the
same net (see `plain`); the step's FLOP/s as a share of those of a large square matrix product in the same precision;
and images/s of the trainer's own epoch against the same step's arithmetic with nothing around it. Where the step is
compiled, the seconds of that are a figure of their own and in no other.
"""

import argparse
from collections.abc import Iterator

from wrnexp.cli.bench import Figure, positive
from wrnexp.cli.bench.pace import Effort, Side, add_quick, count, timed
from wrnexp.cli.bench.training import CLASSES, NETS, SyntheticTraining, matrix_product


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "step",
        help="images/s of the training step: against a plain loop, the matrix peak and a bare step",
        description=__doc__,
    )
    parser.add_argument("--model", choices=sorted(NETS), default="light", help="the net (default: light, WRN-16-8)")
    parser.add_argument("--batch", type=positive, help="images in a batch (default: 64, on a GPU its recipe's)")
    parser.add_argument("--rounds", type=positive, help="pairs against plain and peak (default: 5)")
    parser.add_argument("--loop-rounds", type=positive, help="pairs of own and bare loop (default: 20)")
    parser.add_argument("--steps", type=positive, help="steps a side in a pair (default: 1, on a GPU 50)")
    parser.add_argument("--device", default="auto", help="as trainer.device (default: auto)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="(default: auto)")
    add_quick(parser)
    return parser


def measure(args: argparse.Namespace) -> Iterator[Figure]:
    """Yield the compilation's figure, those against the plain loop and the matrix peak, own loop against bare step."""
    training = SyntheticTraining(args.model, args.batch, args.device, args.precision)
    steps = count(args.steps, 50 if training.hardware.device.type == "cuda" else 1, args)
    effort = Effort(count(args.rounds, 5, args), steps, steps)
    loops = Effort(count(args.loop_rounds, 20, args), steps, steps)
    with training.hardware.settings():
        yield from training.compilation()
        ours = training.epoch(1)
        yield effort.compare(f"{training.name}, against a plain loop", "images/s", ours, plain(training))
        gflop = training.gflop_per_image
        arithmetic = Side(lambda steps: gflop * ours.rate(steps))
        product = matrix_product(training.hardware)
        yield effort.compare(f"{training.name}, against the matrix peak", "GFLOP/s", arithmetic, product)
        yield loops.compare(f"{training.name}, own loop against its step", "images/s", ours, bare(training))


def bare(training: SyntheticTraining) -> Side:
    """Return the arithmetic of the trainer's step and nothing else: forward, loss, backward, update."""
    trainer, hardware, batch = training.trainer, training.hardware, training.batch
    forward, optimizer = trainer.step.forward, trainer.step.optimizer

    def work(steps: int) -> None:
        for _ in range(steps):
            images, labels = hardware.batch(*batch)
            with hardware.autocast():
                logits = forward(images)
            (trainer.recipe.loss(logits, labels) / len(labels)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            trainer.step.clear_gradients()

    return timed(work, len(batch[1]), hardware.synchronize)


def plain(training: SyntheticTraining) -> Side:
    """Return the plain loop on the same device."""
    from wrnexp.cli.bench.plain import PlainWideResNet, plain_step

    device, (images, labels) = training.hardware.device, training.batch
    depth, width, dropout, stem_dropout, _ = training.net
    net = PlainWideResNet(depth, width, dropout, stem_dropout, num_classes=CLASSES).to(device)
    step = plain_step(net, images.to(device), labels.to(device))

    def work(steps: int) -> None:
        for _ in range(steps):
            step()

    return timed(work, len(labels), training.hardware.synchronize)
