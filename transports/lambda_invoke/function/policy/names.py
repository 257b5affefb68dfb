"""The stages and operators that the policy knows, by MongoDB's names.

A stage that is not named here is refused, for a pipeline or a collection could be in it;
``stages.allow`` adds to them. An operator never holds either: those are stages, and `pipelines`
looks into each. Operators are named so that the ordinary ones pass at a glance.

Source: https://www.mongodb.com/docs/manual/reference/operator/ (to MongoDB 8.2)
"""

from __future__ import annotations


def _names(text: str) -> frozenset[bytes]:
    return frozenset(name.encode() for name in text.split())


JAVASCRIPT = _names("$where $function $accumulator")
"""Operators that run JavaScript in the server."""

NEVER = _names("$_internalJsEmit $_internalJsReduce")
"""What mapReduce is made of inside the server: of no use to a caller."""

_QUERY = _names("""
    $all $and $bitsAllClear $bitsAllSet $bitsAnyClear $bitsAnySet $box $caseSensitive $center
    $centerSphere $comment $diacriticSensitive $elemMatch $eq $exists $expr $geoIntersects
    $geoWithin $geometry $gt $gte $in $jsonSchema $language $lt $lte $maxDistance $minDistance
    $mod $ne $near $nearSphere $nin $nor $not $options $or $polygon $regex $sampleRate $search
    $size $text $type $uniqueDocs $within $alwaysTrue $alwaysFalse $ref $id $db $meta $slice
""")

_UPDATE = _names("""
    $addToSet $bit $currentDate $each $inc $max $min $mul $pop $position $pull $pullAll $push
    $rename $set $setOnInsert $sort $unset
""")

_EXPRESSION = _names("""
    $abs $acos $acosh $add $addToSet $allElementsTrue $and $anyElementTrue $arrayElemAt
    $arrayToObject $asin $asinh $atan $atan2 $atanh $avg $binarySize $bitAnd $bitNot $bitOr
    $bitXor $bottom $bottomN $bsonSize $ceil $cmp $concat $concatArrays $cond $const $convert $cos
    $cosh $count $covariancePop $covarianceSamp $createObjectId $dateAdd $dateDiff $dateFromParts
    $dateFromString $dateSubtract $dateToParts $dateToString $dateTrunc $dayOfMonth $dayOfWeek
    $dayOfYear $degreesToRadians $denseRank $derivative $deserializeEJSON $divide $documentNumber
    $encStrContains $encStrEndsWith $encStrNormalizedEq $encStrStartsWith $eq $exp $expMovingAvg
    $filter $first $firstN $floor $getField $gt $gte $hash $hexHash $hour $ifNull $in
    $indexOfArray $indexOfBytes $indexOfCP $integral $isArray $isNumber $isoDayOfWeek $isoWeek
    $isoWeekYear $last $lastN $let $linearFill $literal $ln $locf $log $log10 $lt $lte $ltrim
    $map $max $maxN $median $mergeObjects $meta $millisecond $min $minMaxScaler $minN $minute
    $mod $month $multiply $ne $not $objectToArray $or $percentile $pow $push $radiansToDegrees
    $rand $range $rank $reduce $regexFind $regexFindAll $regexMatch $replaceAll $replaceOne
    $reverseArray $round $rtrim $sampleRate $second $serializeEJSON $setDifference $setEquals
    $setField $setIntersection $setIsSubset $setUnion $shift $sigmoid
    $similarityCosine $similarityDotProduct $similarityEuclidean $sin $sinh $size $slice
    $sortArray $split $sqrt $stdDevPop $stdDevSamp $strLenBytes $strLenCP $strcasecmp $substr
    $substrBytes $substrCP $subtract $subtype $sum $switch $tan $tanh $toArray $toBool $toDate
    $toDecimal $toDouble $toHashedIndexKey $toInt $toLong $toLower $toObject $toObjectId
    $toString $toUUID $toUpper $top $topN $trim $trunc $tsIncrement $tsSecond $type $unsetField
    $week $year $zip
""")

# Not operators, but they stand where those do: in a wildcard index, in a sort and a hint.
_KEYS = _names("$** $natural")

OPERATORS = _QUERY | _UPDATE | _EXPRESSION | _KEYS
"""Query, update and expression operators that neither run JavaScript nor name a collection."""

DATA_STAGES = _names("""
    $addFields $bucket $bucketAuto $changeStreamSplitLargeEvent $collStats $count $densify
    $documents $fill $geoNear $group $limit $listSearchIndexes $match $project $redact
    $replaceRoot $replaceWith $sample $search $searchMeta $set $setWindowFields $skip $sort
    $sortByCount $unset $unwind $vectorSearch
""")
"""Stages without a pipeline or a namespace in them: filters, expressions and options."""

NAMESPACE_STAGES = _names("$changeStream $facet $graphLookup $lookup $merge $out $unionWith")
"""Stages with pipelines or namespaces in them."""

STAGES = DATA_STAGES | NAMESPACE_STAGES

ADMINISTRATION = _names("""
    $backupCursor $backupCursorExtend $currentOp $indexStats $listCatalog
    $listCachedAndActiveUsers $listClusterCatalog $listLocalSessions $listMqlEntities
    $listSampledQueries $listSessions $operationMetrics $planCacheStats $queryStats
    $querySettings $queue $rankFusion $score $scoreFusion $setVariableFromSubPipeline
    $shardedDataDistribution $mergeCursors
""")
"""Stages about the server and other callers, and those that are not looked into."""
