# The DB proxy function: what it runs, who may call it, and how much of MongoDB it may use.
#
#   odm package --runtime python3.13 --architecture x86_64 -o function.zip
#   module "db_proxy" { source = "…/deploy/terraform", package_file = "function.zip", … }   (example/)
#
# Who may invoke it?  Whoever holds the managed policy aws_iam_policy.invoke (output
#   invoke_policy_arn): it allows lambda:InvokeFunction on the alias `live` and nothing else. The
#   function has no URL, no event source and no resource-based permission, so nobody else can, but
#   for principals of this account whose own policies allow lambda:InvokeFunction more widely.
# What may be run?  What var.policy says, checked in the function before anything is sent:
#   `readWrite` is reading and writing the database that the URI names, `readOnly` is reading it;
#   no administration, no JavaScript, no other database. JSON says it more finely: docs/policy.md.
#   MongoDB's own roles apply besides: give the function's database user no more than it needs.
# How many connections can exist?  For each MongoDB server at most
#       reserved_concurrency x (max_pool_size + 1)
#   (output connections_per_server), where the 1 is the driver's monitor. An option maxPoolSize in
#   the URI wins over max_pool_size. While a new version takes over, environments of both versions
#   count against the same reserved concurrency; idle ones of the old version may hold theirs until
#   Lambda ends them, so leave the server room for twice the number.
# Where are the credentials?  Nowhere in this module, nor in its state. Either MongoDB knows the
#   function's role (MONGODB-AWS, output function_role_arn), or the function reads its URI, when it
#   starts, from a secret or parameter which only its role is given to read. A URI with credentials
#   in it is refused as mongodb_uri.
# Where can it be reached, and what can it reach?  With subnet_ids it runs in your VPC, without it
#   on AWS's network, where MongoDB must be public.
#
# The same in AWS SAM, and every parameter's effect and test: deploy/template.yaml, docs/deploy.md.

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.id
  account   = data.aws_caller_identity.current.account_id

  makes_role = var.role_arn == ""
  in_vpc     = length(var.subnet_ids) > 0
  role_arn   = local.makes_role ? aws_iam_role.function[0].arn : var.role_arn
  kms_key    = var.kms_key_arn == "" ? null : var.kms_key_arn
  alarm_arns = compact([var.alarm_topic_arn])

  # What is empty is not set.
  environment = { for name, value in {
    ODM_PROXY_MONGODB_URI = var.mongodb_uri
    # By reference: the URI itself would be shown here to all who may read the function's
    # configuration, and stand in Terraform's state.
    ODM_PROXY_MONGODB_URI_SECRET          = join("#", compact([var.mongodb_uri_secret_arn, var.mongodb_uri_secret_key]))
    ODM_PROXY_MONGODB_URI_PARAMETER       = var.mongodb_uri_parameter
    ODM_PROXY_MAX_POOL_SIZE               = tostring(var.max_pool_size)
    ODM_PROXY_MAX_IDLE_TIME_MS            = tostring(var.max_idle_time_ms)
    ODM_PROXY_SERVER_SELECTION_TIMEOUT_MS = tostring(var.server_selection_timeout_ms)
    ODM_PROXY_CONNECT_AT_INIT             = tostring(var.connect_at_init)
    ODM_PROXY_STAGING                     = var.staging
    ODM_PROXY_POLICY                      = var.policy
    ODM_PROXY_LOG_INVOCATIONS             = tostring(var.log_invocations)
    ODM_PROXY_METRICS_NAMESPACE           = var.metrics_namespace
    ODM_PROXY_COMMENT                     = tostring(var.comment)
    # MONGODB-AWS asks STS who the function is: in its own region. AWS_REGION is Lambda's to set.
    AWS_STS_REGIONAL_ENDPOINTS = "regional"
  } : name => value if value != "" }
}

resource "aws_lambda_function" "proxy" {
  #checkov:skip=CKV_AWS_116:No dead-letter queue. Callers invoke synchronously and hear of every failure; a command must not run later.
  #checkov:skip=CKV_AWS_117:In a VPC where subnet_ids are given; a public cluster on the internet is reached without.
  #checkov:skip=CKV_AWS_173:The variables hold no secret. They are encrypted with AWS's key, with your own where kms_key_arn is given.
  #checkov:skip=CKV_AWS_272:The bundle is built and deployed by the same person; who signs code adds code_signing_config_arn.
  function_name = var.function_name
  description   = "Carries MongoDB commands of its callers, at most ${var.reserved_concurrency} at one time"

  filename         = var.package_file
  source_code_hash = filebase64sha256(var.package_file)
  handler          = "transports.lambda_invoke.function.app.handler"
  runtime          = var.runtime
  architectures    = [var.architecture]
  memory_size      = var.memory_size
  timeout          = var.timeout
  role             = local.role_arn
  kms_key_arn      = local.kms_key

  reserved_concurrent_executions = var.reserved_concurrency

  # Callers name the alias, and a version never changes: publish one when anything does.
  publish = true

  snap_start {
    apply_on = var.snap_start ? "PublishedVersions" : "None"
  }

  environment {
    variables = local.environment
  }

  dynamic "vpc_config" {
    for_each = local.in_vpc ? [true] : []
    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }

  tracing_config {
    mode = var.tracing
  }

  logging_config {
    log_group             = aws_cloudwatch_log_group.function.name
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
  }

  # Its first invocation needs what the role may do, its network interfaces already its creation.
  depends_on = [aws_iam_role_policy.function]
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.proxy.function_name
  function_version = aws_lambda_function.proxy.version
}

resource "aws_lambda_provisioned_concurrency_config" "live" {
  count = var.provisioned_concurrency > 0 ? 1 : 0

  function_name                     = aws_lambda_function.proxy.function_name
  qualifier                         = aws_lambda_alias.live.name
  provisioned_concurrent_executions = var.provisioned_concurrency
}

# A caller may invoke asynchronously, too. What failed must not run again: only a driver may repeat
# a command, because only its lsid and txnNumber make that safe.
resource "aws_lambda_function_event_invoke_config" "live" {
  function_name                = aws_lambda_function.proxy.function_name
  qualifier                    = aws_lambda_alias.live.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

resource "aws_cloudwatch_log_group" "function" {
  #checkov:skip=CKV_AWS_158:The log holds no contents. It is encrypted with AWS's key, with your own where kms_key_arn is given.
  #checkov:skip=CKV_AWS_338:How long logs are kept is var.log_retention_days; a year is not everybody's rule.
  name              = "/aws/lambda/${var.function_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key
}

resource "aws_iam_policy" "invoke" {
  name_prefix = "${var.function_name}-invoke-"
  description = "Invoke the alias live of the DB proxy function ${var.function_name}, and nothing else"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "lambda:InvokeFunction"
      Resource = aws_lambda_alias.live.arn
    }]
  })
}
