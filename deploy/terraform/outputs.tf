output "url" {
  description = "What callers connect to, with their database instead of <database>"
  value       = "lambda://${aws_lambda_function.proxy.function_name}:live/<database>?region=${local.region}"
}

output "alias_arn" {
  description = "What callers invoke"
  value       = aws_lambda_alias.live.arn
}

output "invoke_policy_arn" {
  description = "Managed policy for callers - invoke the alias, and nothing else"
  value       = aws_iam_policy.invoke.arn
}

output "function_role_arn" {
  description = "Whom MongoDB sees with MONGODB-AWS; add it as a database user of type IAM role"
  value       = local.role_arn
}

output "connections_per_server" {
  description = "At most so many connections, to each MongoDB server"
  value       = var.reserved_concurrency * (var.max_pool_size + 1)
}

output "log_group_name" {
  description = "The function's log"
  value       = aws_cloudwatch_log_group.function.name
}
