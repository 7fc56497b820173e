// SPDX-License-Identifier: Apache-2.0
//
// The library: one folder for each command, with its request, its run and its result. What the
// signatures use comes with it.

@_exported public import enum ByteStorage.FileAccess
@_exported public import struct ByteStorage.NoProgress
@_exported public import protocol ByteStorage.ProgressSink
@_exported public import struct ByteStorage.RegateError
@_exported public import enum ByteStorage.RegateVersion
@_exported public import struct CheckpointWriting.AdapterSummary
@_exported public import struct CheckpointWriting.CopySummary
@_exported public import struct CheckpointWriting.InPlaceSummary
@_exported public import enum CheckpointWriting.OutputMethod
@_exported public import enum CheckpointWriting.Sink
@_exported public import enum CheckpointWriting.Written
@_exported public import protocol Checkpoints.JSONRepresentable
@_exported public import enum Checkpoints.JSONValue
@_exported public import struct ExpertMaps.ExpertMap
@_exported public import enum ExpertMaps.ExpertMapFormat
@_exported public import enum Forms.RouterForm
@_exported public import enum Inference.PerplexityProtocol
@_exported public import struct Measures.BalancePoint
@_exported public import struct Measures.LoadComparison
@_exported public import struct Measures.LoadSummary
@_exported public import struct Measures.RankBatches
@_exported public import struct Measures.Roofline
@_exported public import struct Measures.RoutingFigures
@_exported public import struct Measures.SetLoad
@_exported public import struct Measures.SetMeasure
@_exported public import enum Measures.SetRole
@_exported public import enum ModelFitting.Budget
@_exported public import struct ModelFitting.FitOrigin
@_exported public import struct ModelFitting.FitSettings
@_exported public import struct ModelFitting.LayerFigures
@_exported public import enum ModelFitting.LayerPart
@_exported public import struct ModelFitting.ModelFit
@_exported public import struct Reports.Page
@_exported public import struct Resuming.ResumeOptions
@_exported public import enum Routing.EncoderKind
@_exported public import struct Routing.GateStatistics
@_exported public import struct Routing.LatentForm
@_exported public import struct Routing.LoadMetrics
@_exported public import struct Routing.RoutingAgreement
@_exported public import enum Routing.SimilarityKind
@_exported public import struct Runtimes.Check
@_exported public import enum Runtimes.CheckLevel
@_exported public import struct Runtimes.Evidence
@_exported public import enum Runtimes.Runtime
@_exported public import enum Runtimes.VersionRange
@_exported public import enum Tensors.ElementType
@_exported public import enum Tensors.Precision
@_exported public import struct Traffic.CalibrationSets
@_exported public import struct Traffic.CapturePart
@_exported public import struct Traffic.ExpertLoad
@_exported public import enum Traffic.LoadRequest
@_exported public import struct Traffic.TokenOptions
