# What the function itself may do, least privilege. With var.role_arn nothing of this is made.
#
# One policy rather than one for each permission: whether a secret or a key is given may be known
# only once they are made, in the same run, and nothing can be counted by that.

resource "aws_iam_role" "function" {
  count = local.makes_role ? 1 : 0

  name_prefix = "${substr(var.function_name, 0, 37)}-"
  description = "The DB proxy function ${var.function_name}; MongoDB may know it by this role (MONGODB-AWS)"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  #checkov:skip=CKV_AWS_290:Network interfaces, which Lambda makes with this role, and X-Ray know no narrower resource.
  #checkov:skip=CKV_AWS_355:Network interfaces, which Lambda makes with this role, and X-Ray know no narrower resource.
  count = local.makes_role ? 1 : 0

  name = "function"
  role = aws_iam_role.function[0].id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local.logs, local.reads_secret, local.reads_parameter, local.decrypts, local.joins_vpc, local.traces)
  })
}

locals {
  logs = [{
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    Resource = "${aws_cloudwatch_log_group.function.arn}:*"
  }]

  reads_secret = var.mongodb_uri_secret_arn == "" ? [] : [{
    Effect   = "Allow"
    Action   = "secretsmanager:GetSecretValue"
    Resource = var.mongodb_uri_secret_arn
  }]

  reads_parameter = var.mongodb_uri_parameter == "" ? [] : [{
    Effect   = "Allow"
    Action   = "ssm:GetParameter"
    Resource = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${var.mongodb_uri_parameter}"
  }]

  decrypts = var.mongodb_uri_kms_key_arn == "" ? [] : [{
    Effect   = "Allow"
    Action   = "kms:Decrypt"
    Resource = var.mongodb_uri_kms_key_arn
    Condition = {
      StringEquals = {
        "kms:ViaService" = [
          "secretsmanager.${local.region}.amazonaws.com",
          "ssm.${local.region}.amazonaws.com",
        ]
      }
    }
  }]

  joins_vpc = [for statement in [local.makes_interfaces, local.keeps_off_interfaces] : statement if local.in_vpc]

  # Lambda makes the interfaces, with this role; it accepts no narrower resource.
  makes_interfaces = {
    Effect = "Allow"
    Action = [
      "ec2:AssignPrivateIpAddresses",
      "ec2:CreateNetworkInterface",
      "ec2:DeleteNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:UnassignPrivateIpAddresses",
    ]
    Resource = "*"
  }

  # The function's own code has no business with them.
  keeps_off_interfaces = {
    Effect   = "Deny"
    Action   = "ec2:*"
    Resource = "*"
    Condition = {
      ArnEquals = {
        "lambda:SourceFunctionArn" = "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.function_name}"
      }
    }
  }

  # X-Ray knows no resource of these.
  traces = var.tracing == "Active" ? [{
    Effect   = "Allow"
    Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    Resource = "*"
  }] : []
}
