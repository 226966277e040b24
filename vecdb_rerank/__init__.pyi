# The public names of this package, and where they are: `__init__.py` reads this file to load
# each on its first use.

from vecdb_rerank._version import __version__ as __version__
from vecdb_rerank.config.factory import connect as connect
from vecdb_rerank.config.factory import connect_async as connect_async
from vecdb_rerank.embedders.cohere import CohereEmbedder as CohereEmbedder
from vecdb_rerank.embedders.function import FunctionEmbedder as FunctionEmbedder
from vecdb_rerank.embedders.jina import JinaEmbedder as JinaEmbedder
from vecdb_rerank.embedders.onnx import OnnxEmbedder as OnnxEmbedder
from vecdb_rerank.embedders.openai import OpenAIEmbedder as OpenAIEmbedder
from vecdb_rerank.embedders.sentence_transformers import (
    SentenceTransformersEmbedder as SentenceTransformersEmbedder,
)
from vecdb_rerank.embedders.tei import TeiEmbedder as TeiEmbedder
from vecdb_rerank.embedders.torch import TorchEmbedder as TorchEmbedder
from vecdb_rerank.embedders.voyage import VoyageEmbedder as VoyageEmbedder
from vecdb_rerank.errors import ConfigurationError as ConfigurationError
from vecdb_rerank.errors import DatabaseError as DatabaseError
from vecdb_rerank.errors import EmbedderError as EmbedderError
from vecdb_rerank.errors import EmbedderTimeoutError as EmbedderTimeoutError
from vecdb_rerank.errors import FirstPassError as FirstPassError
from vecdb_rerank.errors import FirstPassTimeoutError as FirstPassTimeoutError
from vecdb_rerank.errors import IngestError as IngestError
from vecdb_rerank.errors import InvalidRerankerError as InvalidRerankerError
from vecdb_rerank.errors import MissingDependencyError as MissingDependencyError
from vecdb_rerank.errors import RerankError as RerankError
from vecdb_rerank.errors import RerankerSkippedError as RerankerSkippedError
from vecdb_rerank.errors import RerankTimeoutError as RerankTimeoutError
from vecdb_rerank.errors import SchemaError as SchemaError
from vecdb_rerank.errors import VecdbRerankError as VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline as Deadline
from vecdb_rerank.ingest.model import Document as Document
from vecdb_rerank.ingest.model import Failure as Failure
from vecdb_rerank.ingest.model import IngestReport as IngestReport
from vecdb_rerank.model import BranchHit as BranchHit
from vecdb_rerank.model import Candidate as Candidate
from vecdb_rerank.model import Estimate as Estimate
from vecdb_rerank.model import Scores as Scores
from vecdb_rerank.outcome import ExplainedHit as ExplainedHit
from vecdb_rerank.outcome import Outcome as Outcome
from vecdb_rerank.outcome import StageEffect as StageEffect
from vecdb_rerank.outcome import observe as observe
from vecdb_rerank.policy import Policy as Policy
from vecdb_rerank.policy.after import Boost as Boost
from vecdb_rerank.policy.after import Bury as Bury
from vecdb_rerank.policy.after import Decay as Decay
from vecdb_rerank.policy.after import FieldSignal as FieldSignal
from vecdb_rerank.policy.after import MaxPer as MaxPer
from vecdb_rerank.policy.after import Mmr as Mmr
from vecdb_rerank.policy.after import Pin as Pin
from vecdb_rerank.policy.blend import Blend as Blend
from vecdb_rerank.policy.breaker import Breaker as Breaker
from vecdb_rerank.policy.calibration import Calibration as Calibration
from vecdb_rerank.policy.cost import Cost as Cost
from vecdb_rerank.policy.effort import Effort as Effort
from vecdb_rerank.policy.exact_terms import ExactTerms as ExactTerms
from vecdb_rerank.policy.passages import Passages as Passages
from vecdb_rerank.policy.skip import Skip as Skip
from vecdb_rerank.protocols import AnyReranker as AnyReranker
from vecdb_rerank.protocols import AsyncReranker as AsyncReranker
from vecdb_rerank.protocols import BaseReranker as BaseReranker
from vecdb_rerank.protocols import Embedder as Embedder
from vecdb_rerank.protocols import Reranker as Reranker
from vecdb_rerank.request import Fusion as Fusion
from vecdb_rerank.request import SearchDefaults as SearchDefaults
from vecdb_rerank.rerankers.cascade import CascadeReranker as CascadeReranker
from vecdb_rerank.rerankers.cohere import CohereReranker as CohereReranker
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker as CrossEncoderReranker
from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker as FlagEmbeddingReranker
from vecdb_rerank.rerankers.function import FunctionReranker as FunctionReranker
from vecdb_rerank.rerankers.http import HttpReranker as HttpReranker
from vecdb_rerank.rerankers.late_interaction import (
    LateInteractionReranker as LateInteractionReranker,
)
from vecdb_rerank.rerankers.llm import LlmReranker as LlmReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker as OnnxReranker
from vecdb_rerank.rerankers.wire_format import WireFormat as WireFormat
from vecdb_rerank.resilience.ledger import billed_units as billed_units
from vecdb_rerank.search.arguments import AddOptions as AddOptions
from vecdb_rerank.search.arguments import ConnectorOptions as ConnectorOptions
from vecdb_rerank.search.arguments import SearchOptions as SearchOptions
from vecdb_rerank.search.connector import AsyncConnector as AsyncConnector
from vecdb_rerank.search.connector import Connector as Connector
from vecdb_rerank.search.dropin import rerank_query as rerank_query
from vecdb_rerank.search.store import Finding as Finding
from vecdb_rerank.text_fields import TextFields as TextFields
