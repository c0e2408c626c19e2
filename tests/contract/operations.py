"""The operations that Lamina serves, and a sample of those that it names but does not serve.

`SERVED` is the list that the coverage test holds the typed SDK's calls against. Templates are spelled as
the SDK spells them, so a call is compared by method and template.
"""

from typing import Final, NamedTuple


class Operation(NamedTuple):
    """One operation of the contract."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _read(table: str) -> frozenset[Operation]:
    """Lines of `METHOD METHOD … path`: each method of a line is one operation."""
    return frozenset(
        Operation(method, path)
        for line in filter(str.strip, table.splitlines())
        for *methods, path in (line.split(),)
        for method in methods
    )


SERVED: Final = _read("""
    GET                  /v1/health
    GET                  /v1/health/liveness
    GET                  /v1/me
    GET                  /v1/organizations
    GET POST             /v1/organizations/users
    GET POST             /v1/organizations/users/{user_email}/api-keys
    DELETE               /v1/organizations/users/{user_email}/api-keys/{key_name}
    GET POST             /v1/organizations/secrets
    PUT DELETE           /v1/organizations/secrets/{secret_name}
    POST                 /v1/organizations/connections
    POST                 /v1/organizations/connections/list
    GET PATCH DELETE     /v1/organizations/connections/{connection_identifier}
    POST                 /v1/organizations/connections/{connection_identifier}/test

    GET POST             /v1/namespaces
    POST                 /v1/namespaces/list
    POST                 /v1/namespaces/standalone
    GET PATCH DELETE     /v1/namespaces/{namespace_identifier}
    POST                 /v1/namespaces/{namespace_id}/documents/upsert
    GET                  /v1/namespaces/{namespace_id}/documents/{document_id}

    GET POST             /v1/buckets
    POST                 /v1/buckets/list
    GET PATCH PUT DELETE /v1/buckets/{bucket_identifier}
    GET POST             /v1/buckets/{bucket_identifier}/objects
    POST                 /v1/buckets/{bucket_identifier}/objects/batch
    POST                 /v1/buckets/{bucket_identifier}/objects/list
    GET PATCH PUT DELETE /v1/buckets/{bucket_identifier}/objects/{object_identifier}
    POST                 /v1/buckets/{bucket_identifier}/uploads
    POST                 /v1/buckets/{bucket_identifier}/uploads/batch
    POST                 /v1/buckets/{bucket_identifier}/uploads/list
    GET DELETE           /v1/buckets/{bucket_identifier}/uploads/{upload_id}
    POST                 /v1/buckets/{bucket_identifier}/uploads/{upload_id}/confirm

    POST                 /v1/buckets/{bucket_identifier}/batches
    POST                 /v1/buckets/{bucket_identifier}/batches/list
    GET DELETE           /v1/buckets/{bucket_identifier}/batches/{batch_id}
    POST                 /v1/buckets/{bucket_identifier}/batches/{batch_id}/objects
    POST                 /v1/buckets/{bucket_identifier}/batches/{batch_id}/submit
    POST                 /v1/buckets/{bucket_identifier}/batches/{batch_id}/cancel
    GET                  /v1/batches/{batch_id}
    POST                 /v1/tasks/list
    GET DELETE           /v1/tasks/{task_id}

    GET POST             /v1/collections
    POST                 /v1/collections/list
    GET                  /v1/collections/features/extractors
    GET                  /v1/collections/features/extractors/{feature_extractor_id}
    GET PATCH DELETE     /v1/collections/{collection_identifier}
    GET                  /v1/collections/{collection_identifier}/features
    POST                 /v1/collections/{collection_identifier}/trigger
    GET POST             /v1/collections/{collection_identifier}/documents
    POST DELETE          /v1/collections/{collection_identifier}/documents/batch
    PATCH                /v1/collections/{collection_identifier}/documents/bulk
    GET                  /v1/collections/{collection_identifier}/documents/count
    POST                 /v1/collections/{collection_identifier}/documents/list
    GET PATCH PUT DELETE /v1/collections/{collection_identifier}/documents/{document_id}

    POST                 /v1/documents/batch-get
    POST                 /v1/documents/list
    GET PATCH PUT        /v1/documents/{document_id}

    GET                  /v1/discovery/extractors
    POST                 /v1/inference

    POST                 /v1/features/search
    GET POST             /v1/retrievers
    POST                 /v1/retrievers/list
    POST                 /v1/retrievers/execute
    GET                  /v1/retrievers/stages
    GET PATCH DELETE     /v1/retrievers/{retriever_id}
    POST                 /v1/retrievers/{retriever_id}/execute
""")

NOT_ENABLED: Final = sorted(
    _read("""
    POST  /v1/retrievers/executions/list
    GET   /v1/alerts
    POST  /v1/annotations
    GET   /v1/batches/queue
    GET   /v1/collections/features
    GET   /v1/retrievers/benchmarks
    GET   /v1/retrievers/published
    GET   /v1/retrievers/typeahead
    POST  /v1/buckets/{bucket_identifier}/objects/aggregate
    POST  /v1/clusters
    GET   /v1/clusters/{cluster_identifier}
    POST  /v1/clusters/{cluster_id}/execute
    POST  /v1/collections/{collection_identifier}/clone
    POST  /v1/collections/{collection_identifier}/export
    GET   /v1/discovery
    GET   /v1/events
    POST  /v1/manifest/apply
    POST  /v1/namespaces/{namespace_identifier}/clone
    PATCH /v1/organizations
    POST  /v1/organizations/webhooks
    PUT   /v1/organizations/webhooks/{identifier}
    POST  /v1/retrievers/{retriever_id}/execute/batch
    POST  /v1/taxonomies
    GET   /v1/taxonomies/{taxonomy_identifier}
    POST  /v1/agents/sessions
    GET   /v1/analytics/usage/summary
    GET   /v1/apps
    POST  /v1/marketplace/subscriptions
    """)
)
"""Operations of the contract that answer 501, from every rank and every part of it."""
