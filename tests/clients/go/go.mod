module vecdb-rerank-client

go 1.22
