"""`lamina search` against a scripted server: which collections and vectors are searched, and how."""

import json
from typing import Any

from tests.unit.served import Run, Served

TEXT_MODEL, IMAGE_MODEL = "all_minilm_l6_v2_v1", "siglip_v1"
EXTRACTORS = "GET /v1/collections/features/extractors"
FOUND = {"documents": [{"document_id": "doc_1", "collection_id": "col_1", "score": 0.5, "text": "a b"}]}


def collection(number: int, name: str, extractor: str, **models: str) -> dict[str, Any]:
    """A collection whose vectors these models made of these inputs, as the server shows it."""
    indexes = [
        {
            "feature_uri": f"mixpeek://{extractor}@v1/{model}",
            "index": {"inference_name": model, "supported_inputs": inputs.split()},
        }
        for model, inputs in models.items()
    ]
    return {"collection_id": f"col_{number}", "collection_name": name, "vector_indexes": indexes}


DOCS = collection(1, "docs", "text_extractor", all_minilm_l6_v2_v1="text")
IMAGES = collection(2, "docs-images", "image_extractor", siglip_v1="text image", dinov2_v1="image")
MEDIA = collection(
    3, "docs-media", "multimodal_extractor", siglip_v1="video text", all_minilm_l6_v2_v1="text"
)
FILES = collection(4, "docs-files", "passthrough_extractor")
PAGES = collection(5, "docs-pages", "document_graph_extractor", all_minilm_l6_v2_v1="pdf")
FACES = collection(6, "people", "face_identity_extractor", facenet_v1="image")
CATALOGUE = [{"feature_extractor_name": "text_extractor", "required_vector_indexes": DOCS["vector_indexes"]}]


def searches(served: Served) -> list[dict[str, Any]]:
    """The searches of the last request."""
    call, _, sent = served.requests[-1]
    assert call == "POST /v1/retrievers/execute"
    assert sent["inputs"] == {"query": "some words"}
    return list(sent["stages"][0]["config"]["parameters"]["searches"])


def test_a_search_sends_one_dense_and_one_lexical_search_for_hybrid(run: Run, served: Served) -> None:
    served.will("POST /v1/collections/list", {"results": []})
    served.will("GET /v1/collections/docs", DOCS)
    served.will("POST /v1/retrievers/execute", FOUND)
    result = run("search", "some words", "-c", "docs", "--hybrid", "--json", "--url", served.url)
    assert json.loads(result.stdout)["documents"] == FOUND["documents"]
    dense, lexical = searches(served)
    assert dense["feature_uri"] == f"mixpeek://text_extractor@v1/{TEXT_MODEL}"
    assert [dense["lexical"], lexical["lexical"]] == [False, True]
    assert dense["collection_identifiers"] == lexical["collection_identifiers"] == ["col_1"]
    assert served.requests[-1][2]["stages"][0]["config"]["parameters"]["fusion"] == "rrf"


def test_a_search_looks_through_all_collections_that_a_load_made(run: Run, served: Served) -> None:
    served.will("POST /v1/collections/list", {"results": [DOCS, IMAGES, MEDIA, FILES, PAGES]})
    served.will(EXTRACTORS, CATALOGUE)
    served.will("POST /v1/retrievers/execute", FOUND)
    assert run("search", "some words", "-c", "docs", "--hybrid", "--url", served.url).exit_code == 0
    asked = {call: body for call, _, body in served.requests}
    condition = {"field": "metadata.ingested_as", "operator": "eq", "value": "docs"}
    assert asked["POST /v1/collections/list"] == {"filters": {"AND": [condition]}}
    # The vectors of one model compare. Those that no text can be compared with are left out.
    assert [
        (one["feature_uri"].rpartition("/")[2], one["lexical"], one["collection_identifiers"])
        for one in searches(served)
    ] == [
        (TEXT_MODEL, False, ["col_1", "col_3", "col_5"]),
        (IMAGE_MODEL, False, ["col_2", "col_3"]),
        ("embedding", True, ["col_1", "col_2", "col_3", "col_5"]),
    ]


def test_a_search_through_everything_leaves_out_what_no_text_compares_with(run: Run, served: Served) -> None:
    served.will("POST /v1/collections/list", {"results": [FACES, DOCS]})
    served.will(EXTRACTORS, CATALOGUE)
    served.will("POST /v1/retrievers/execute", FOUND)
    assert run("search", "some words", "--url", served.url).exit_code == 0
    assert [one["collection_identifiers"] for one in searches(served)] == [["col_1"]]
    served.answers.pop("POST /v1/collections/list")
    served.will("POST /v1/collections/list", {"results": [FACES]})
    assert run("search", "some words", "--url", served.url).exit_code == 2


def test_a_collection_that_was_there_before_the_load_is_searched_with_what_it_made(
    run: Run, served: Served
) -> None:
    served.will("POST /v1/collections/list", {"results": [IMAGES]})
    served.will("GET /v1/collections/docs", DOCS)
    served.will(EXTRACTORS, CATALOGUE)
    served.will("POST /v1/retrievers/execute", FOUND)
    assert run("search", "some words", "-c", "docs", "--url", served.url).exit_code == 0
    assert [one["collection_identifiers"] for one in searches(served)] == [["col_1"], ["col_2"]]


def test_a_document_without_text_is_shown_by_its_path(run: Run, served: Served) -> None:
    picture = {"document_id": "doc_1", "collection_id": "col_2", "score": 0.5, "path": "shoot/a.png"}
    served.will("POST /v1/collections/list", {"results": [DOCS]})
    served.will("POST /v1/retrievers/execute", {"documents": [picture]})
    lines = run("search", "some words", "--url", served.url).stdout.splitlines()
    assert lines[1].split("\t") == ["0.5", "doc_1", "col_2", "shoot/a.png"]


def test_a_name_is_completed_as_a_load_completes_it(run: Run, served: Served) -> None:
    served.will("POST /v1/collections/list", {"results": []})
    served.will("GET /v1/collections/a-data", DOCS)
    served.will("POST /v1/retrievers/execute", FOUND)
    assert run("search", "some words", "-c", "a", "--url", served.url).exit_code == 0


def test_a_search_in_an_unknown_collection_says_so(run: Run, served: Served) -> None:
    served.will("POST /v1/collections/list", {"results": []})
    result = run("search", "x", "-c", "nothing", "--url", served.url)
    assert result.exit_code == 5
    assert "Collection 'nothing' was not found." in result.stderr
