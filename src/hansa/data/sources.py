"""Where the files of public data sets come from, and what they must be: data, no code.

This file must not know how files are found, downloaded or read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Source:
    """One file of a public data set.

    Attributes:
        file: its name, as published.
        url: where it is published; "" for a file that nobody publishes.
        sha256: of the bytes inside where the name ends in ".gz", because different publishers pack the same bytes
            differently; of the file itself otherwise, and of a ".tar.gz".
        folder: the data set's own folder, inside a folder of data sets.
    """

    file: str
    url: str
    sha256: str
    folder: str

    @property
    def gzipped(self) -> bool:
        """Whether the file is a single gzipped file, which may lie around unpacked."""
        return self.file.endswith(".gz") and not self.file.endswith(".tar.gz")

    @property
    def unpacked(self) -> str:
        """The file's name once unpacked."""
        return self.file.removesuffix(".gz") if self.gzipped else self.file


@dataclass(frozen=True)
class Publisher:
    """A place that files of a data set are published at.

    Attributes:
        base: what the files' URLs begin with.
        folder: the data set's own folder, inside a folder of data sets.
    """

    base: str
    folder: str

    def file(self, file: str, sha256: str) -> Source:
        """The source of one of its files."""
        return Source(file, self.base + file, sha256, self.folder)

    def pair(self, part: str, images: str, labels: str) -> tuple[Source, Source]:
        """The images' and the labels' file of one part, "train" or "t10k", under MNIST's names."""
        return self.file(f"{part}-images-idx3-ubyte.gz", images), self.file(f"{part}-labels-idx1-ubyte.gz", labels)


@dataclass(frozen=True)
class About:
    """What is known of a data set.

    Attributes:
        name: what `load_dataset` calls it.
        title: what people call it.
        labels: the classes' names.
        mean: of each channel of the training images, scaled to [0, 1].
        std: their standard deviations.
        licence: under which terms it is published.
        source: by whom.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    source: str


@dataclass(frozen=True)
class IdxSet:
    """A set of grey images in IDX files, as MNIST is published.

    Attributes:
        about: what is known of it.
        train: the images' file, the labels' file and, where it is known who wrote the digits, QMNIST's label file.
        test: the same for the test images.
    """

    about: About
    train: tuple[Source, ...]
    test: tuple[Source, ...]


@dataclass(frozen=True)
class CifarSet:
    """CIFAR-10 in the forms that it is read in.

    Attributes:
        about: what is known of it; mean and std are the original's.
        archive: the original binary archive.
        unpacked: the archive's own folder, which may lie around unpacked.
        train: the original training files in the archive.
        test: the original test file in the archive.
        train_jpeg: the JPEG re-encoding of the training images; its hash is of the arrays inside.
        test_jpeg: that of the test images.
    """

    about: About
    archive: Source
    unpacked: str
    train: tuple[str, ...]
    test: str
    train_jpeg: Source
    test_jpeg: Source


_DIGITS = tuple(map(str, range(10)))

_MNIST = Publisher("https://ossci-datasets.s3.amazonaws.com/mnist/", "mnist")
_QMNIST = Publisher("https://raw.githubusercontent.com/facebookresearch/qmnist/master/", "mnist")
_FASHION = Publisher("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "fashion-mnist")

DIGITS = About(
    name="digits",
    title="Optical recognition of handwritten digits, 8×8 pixels",
    labels=_DIGITS,
    mean=(0.3053,),
    std=(0.3760,),
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, 1998; the copy that scikit-learn brings",
)

MNIST = IdxSet(
    about=About(
        name="mnist",
        title="MNIST handwritten digits",
        labels=_DIGITS,
        mean=(0.1307,),
        std=(0.3081,),
        licence="CC BY-SA 3.0",
        source="Y. LeCun, C. Cortes, C. Burges: MNIST, from NIST SD-3 and SD-1",
    ),
    train=_MNIST.pair(
        "train",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    test=_MNIST.pair(
        "t10k",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

MNIST_BY_WRITER = IdxSet(
    about=replace(
        MNIST.about,
        name="mnist_by_writer",
        title="MNIST handwritten digits with their writers",
        licence="CC BY-SA 3.0; the writers: BSD-3-Clause style (QMNIST)",
        source=f"{MNIST.about.source}; writers: C. Yadav, L. Bottou: Cold Case: The Lost MNIST Digits, 2019",
    ),
    train=(
        *MNIST.train,
        _QMNIST.file(
            "qmnist-train-labels-idx2-int.gz", "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5"
        ),
    ),
    test=(
        *MNIST.test,
        _QMNIST.file(
            "qmnist-test-labels-idx2-int.gz", "92d0ccb8c25f9c6534270fb4be7e1d24a1c6d315edfc8a638bfbd31c70f362dd"
        ),
    ),
)

FASHION_MNIST = IdxSet(
    about=About(
        name="fashion_mnist",
        title="Fashion-MNIST",
        labels=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        mean=(0.2860,),
        std=(0.3530,),
        licence="MIT",
        source="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, Zalando Research, 2017",
    ),
    train=_FASHION.pair(
        "train",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    test=_FASHION.pair(
        "t10k",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

CIFAR10 = CifarSet(
    about=About(
        name="cifar10",
        title="CIFAR-10",
        labels=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        licence="no formal licence; distributed for research by its authors, who ask for a citation",
        source="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    ),
    archive=Source(
        file="cifar-10-binary.tar.gz",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        folder="cifar10",
    ),
    unpacked="cifar-10-batches-bin",
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test="test_batch.bin",
    train_jpeg=Source(
        file="cifar10_train_jpeg.npz",
        url="",
        sha256="6ff84da82373994c6f69e3cb07870c2caabb04404f535d7e6a4374abec87d95d",
        folder="cifar10-jpeg",
    ),
    test_jpeg=Source(
        file="cifar10_test_jpeg.npz",
        url="",
        sha256="b8bb5a8da34edbc7965d3c32473734b2214a272fcfa257d4216fa601c41420dd",
        folder="cifar10-jpeg",
    ),
)
