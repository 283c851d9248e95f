"""The agent's fetch path against real object stores on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from agent.errors import StorageError
from agent.storage import Contents, Fetched, Limits, Reach, fetch
from agent.storage.transfer import PART_BYTES
from tests.support.real_stores import (
    NoStoreError,
    RealStore,
    azure_container,
    azurite,
    fake_gcs,
    gcs_put,
    seaweed,
)

pytestmark = pytest.mark.timeout(180)

SECOND = b"two parts: " + bytes(PART_BYTES)
FILES = {
    "m/sk/config.pbtxt": b"config",
    "m/sk/1/weights": b"weights",
    "m/sk/1/sp ace & per%20cent + ünï#~": b"odd",
    "m/sk/1/large": SECOND,
    "m/sk2/1/weights": b"not of this model",
    "alone/model.onnx": b"onnx",
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    pytest.importorskip("obstore")
    try:
        with seaweed(tmp_path_factory.mktemp("weed")) as store:
            for key, content in FILES.items():
                store.put("models", key, content)
            yield store
    except NoStoreError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    pytest.importorskip("obstore")
    try:
        with fake_gcs(tmp_path_factory.mktemp("gcs"), "models") as store:
            for key, content in FILES.items():
                gcs_put(store, "models", key, content)
            yield store
    except NoStoreError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    pytest.importorskip("obstore")
    try:
        with azurite(tmp_path_factory.mktemp("azure")) as store:
            azure_container(store, "models")
            for key, content in FILES.items():
                store.put("models", key, content)
            yield store
    except NoStoreError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["s3", "gcs", "azure"])
def store(request: pytest.FixtureRequest) -> RealStore:
    found: RealStore = request.getfixturevalue(request.param)
    return found


class Fetcher:
    """Fetches one model after another into folders of their own, over one set of contents."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.contents = Contents(folder / "contents", Limits())
        self.contents.prepare()

    def __call__(self, name: str, uri: str, **changed: str) -> Fetched:
        into = self.folder / name
        into.mkdir()
        return fetch(
            uri,
            into=into,
            limits=Limits(),
            unwanted=lambda: False,
            contents=self.contents,
            reach=Reach(environment={**self.environment, **changed}),
        )


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_whole_and_once(store: RealStore, tmp_path: Path) -> None:
    get = Fetcher(tmp_path, store.environment)
    first = get("a", f"{store.scheme}://models/m/sk")
    expected = {key.removeprefix("m/sk/"): data for key, data in FILES.items() if key.startswith("m/sk/")}
    assert content(first.folder) == expected
    assert first.total_bytes == first.fetched_bytes == sum(map(len, expected.values()))
    lines = "".join(f"{path}\0{hashlib.sha256(expected[path]).hexdigest()}\n" for path in sorted(expected))
    assert first.digest == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    again = get("b", f"{store.scheme}://models/m/sk/")
    assert (content(again.folder), again.fetched_bytes, again.digest) == (expected, 0, first.digest)
    assert (again.folder / "1" / "large").samefile(first.folder / "1" / "large")


def test_one_object_is_a_model(store: RealStore, tmp_path: Path) -> None:
    get = Fetcher(tmp_path, store.environment)
    assert content(get("a", f"{store.scheme}://models/alone/model.onnx").folder) == {"1/model.onnx": b"onnx"}


@pytest.mark.parametrize("uri", ["models/absent", "models/m/s", "no-such-bucket/m"])
def test_what_is_not_there(store: RealStore, tmp_path: Path, uri: str) -> None:
    if store.scheme == "gs" and uri.startswith("no-such"):
        pytest.skip(
            "fake-gcs-server answers 500 to a listing of a bucket that it does not have; Google's 404"
        )
    with pytest.raises(StorageError) as caught:
        Fetcher(tmp_path, store.environment)("a", f"{store.scheme}://{uri}")
    assert (caught.value.reason, caught.value.retry) == ("NotFound", "late")


@pytest.mark.parametrize(
    ("fixture", "variable", "value"),
    [
        ("s3", "AWS_SECRET_ACCESS_KEY", "wrong-secret"),
        ("s3", "AWS_ACCESS_KEY_ID", "no-such-key"),
        ("s3", "awsAnonymousCredential", "true"),
        ("azure", "AZURE_STORAGE_ACCESS_KEY", "d3Jvbmctc2VjcmV0"),
    ],
)
def test_a_wrong_secret_is_denied_and_not_told(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str, variable: str, value: str
) -> None:
    store: RealStore = request.getfixturevalue(fixture)
    get = Fetcher(tmp_path, store.environment)
    for number, path in enumerate(("m/sk", "alone/model.onnx")):
        with pytest.raises(StorageError) as caught:
            get(str(number), f"{store.scheme}://models/{path}", **{variable: value})
        assert (caught.value.reason, caught.value.retry) == ("Denied", "late")
        assert "secret" not in str(caught.value)
        assert "key" not in str(caught.value)


def test_the_endpoint_of_kserve_s_own_variables(s3: RealStore, tmp_path: Path) -> None:
    host = s3.environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    get = Fetcher(
        tmp_path, {**s3.environment, "AWS_ENDPOINT_URL": "", "S3_ENDPOINT": host, "S3_USE_HTTPS": "0"}
    )
    assert get("a", "s3://models/alone").total_bytes == 4


def test_an_etag_of_many_parts_is_no_md5(s3: RealStore, tmp_path: Path) -> None:
    s3.put("models", "parts/1/weights", bytes(20 << 20), use_multipart=True)
    assert Fetcher(tmp_path, s3.environment)("a", "s3://models/parts").total_bytes == 20 << 20


def test_a_new_content_is_fetched_anew(s3: RealStore, tmp_path: Path) -> None:
    get = Fetcher(tmp_path, s3.environment)
    s3.put("models", "changing/1/weights", b"old")
    first = get("a", "s3://models/changing")
    s3.put("models", "changing/1/weights", b"new")
    second = get("b", "s3://models/changing")
    assert (content(first.folder), content(second.folder)) == ({"1/weights": b"old"}, {"1/weights": b"new"})
    assert first.digest != second.digest
