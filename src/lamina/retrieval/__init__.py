"""⑥ Retrieval: retrievers, the pipeline that runs them, their stages, and the fusion of searches."""
