resource "aws_cloudwatch_metric_alarm" "throttles" {
  alarm_name          = "${var.function_name}-throttles"
  alarm_description   = "Invokes are throttled, minute after minute. Callers wait and then fail - raise reserved_concurrency, or batch."
  namespace           = "AWS/Lambda"
  metric_name         = "Throttles"
  dimensions          = { FunctionName = aws_lambda_function.proxy.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_arns
  ok_actions          = local.alarm_arns
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.function_name}-errors"
  alarm_description   = "Invocations ended in an error. MongoDB's errors are answers and do not count - these are time-outs, crashes and failed starts."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.proxy.function_name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_arns
  ok_actions          = local.alarm_arns
}

resource "aws_cloudwatch_metric_alarm" "duration" {
  alarm_name          = "${var.function_name}-duration"
  alarm_description   = "An invocation took 80 % of timeout or more. Raise it, or give commands a maxTimeMS."
  evaluation_periods  = 1
  threshold           = 80
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_arns
  ok_actions          = local.alarm_arns

  metric_query {
    id          = "used"
    label       = "Longest invocation in % of the time-out"
    expression  = "100 * longest / (1000 * ${var.timeout})"
    return_data = true
  }

  metric_query {
    id          = "longest"
    return_data = false
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Duration"
      dimensions  = { FunctionName = aws_lambda_function.proxy.function_name }
      stat        = "Maximum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "concurrency" {
  alarm_name          = "${var.function_name}-concurrency"
  alarm_description   = "80 % of reserved_concurrency in use for five minutes. Throttles come next - raise it, if MongoDB has connections to spare."
  evaluation_periods  = 5
  threshold           = 80
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_arns
  ok_actions          = local.alarm_arns

  metric_query {
    id          = "used"
    label       = "Concurrent invocations in % of the reserved"
    expression  = "100 * most / ${var.reserved_concurrency}"
    return_data = true
  }

  metric_query {
    id          = "most"
    return_data = false
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "ConcurrentExecutions"
      dimensions  = { FunctionName = aws_lambda_function.proxy.function_name }
      stat        = "Maximum"
      period      = 60
    }
  }
}
