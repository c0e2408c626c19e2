"""The official SDK's typed classes, unmodified, over a client that remembers what was performed."""

from collections import Counter
from typing import Any, Final

import mixpeek

from tests.contract.operations import Operation

performed: Final[Counter[Operation]] = Counter()
"""How often each operation was answered with a 2xx that the SDK deserialised, in this session."""


class RecordingClient(mixpeek.ApiClient):
    """The SDK's client; counts an operation once its answer is a typed value (or an empty 204)."""

    def param_serialize(self, method: str, resource_path: str, *args: Any, **kwargs: Any) -> Any:
        self._operation = Operation(method, resource_path)
        return super().param_serialize(method, resource_path, *args, **kwargs)

    def response_deserialize(self, response_data: Any, response_types_map: Any = None) -> Any:
        answer = super().response_deserialize(response_data, response_types_map)
        expected = response_types_map[str(answer.status_code)]  # an undocumented 2xx is a KeyError
        if expected is None or answer.data is not None:
            performed[self._operation] += 1
        return answer


class Sdk:
    """One attribute for each typed class that has an operation we serve."""

    def __init__(self, url: str, key: str, namespace: str) -> None:
        self.client = RecordingClient(
            mixpeek.Configuration(host=url, access_token=key, api_key={"NamespaceHeader": namespace})
        )
        self.account = mixpeek.AccountApi(self.client)
        self.health = mixpeek.HealthApi(self.client)
        self.organizations = mixpeek.OrganizationsApi(self.client)
        self.users = mixpeek.OrganizationUsersApi(self.client)
        self.keys = mixpeek.OrganizationAPIKeysApi(self.client)
        self.secrets = mixpeek.OrganizationSecretsApi(self.client)
        self.connections = mixpeek.OrganizationConnectionsApi(self.client)
        self.namespaces = mixpeek.NamespacesApi(self.client)
        self.standalone = mixpeek.BYODocumentsApi(self.client)
        self.buckets = mixpeek.BucketsApi(self.client)
        self.objects = mixpeek.BucketObjectsApi(self.client)
        self.uploads = mixpeek.BucketUploadsApi(self.client)
        self.bucket_batches = mixpeek.BucketBatchesApi(self.client)
        self.batches = mixpeek.BatchesApi(self.client)
        self.tasks = mixpeek.TasksApi(self.client)
        self.collections = mixpeek.CollectionsApi(self.client)
        self.collection_documents = mixpeek.CollectionDocumentsApi(self.client)
        self.documents = mixpeek.DocumentsApi(self.client)
        self.extractors = mixpeek.FeatureExtractorsApi(self.client)
        self.discovery = mixpeek.DiscoveryApi(self.client)
        self.inference = mixpeek.InferenceApi(self.client)
        self.feature_search = mixpeek.FeatureSearchApi(self.client)
        self.retrievers = mixpeek.RetrieversApi(self.client)
        self.adhoc_retrievers = mixpeek.AdhocRetrieversApi(self.client)
        self.stages = mixpeek.RetrieverStagesApi(self.client)
