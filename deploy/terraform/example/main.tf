# Two DB proxy functions before one Atlas cluster: one for those who write, one for those who read.
# MongoDB knows each by its role, so there is no password anywhere: add both outputs *_role_arn as
# database users of type "IAM role", the one with the role readWrite, the other with read (and
# readWrite on odm_proxy, for large replies).
#
#   odm package --runtime python3.13 --architecture x86_64 -o function.zip
#   terraform init && terraform apply

provider "aws" {
  region = var.region
}

variable "region" {
  description = "Where the function runs: that of the cluster."
  type        = string
  default     = "eu-central-1"
}

variable "subnet_ids" {
  description = "Private subnets that reach the cluster by peering or a private endpoint."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups that let out to the cluster."
  type        = list(string)
}

locals {
  mongodb_uri = "mongodb+srv://cluster0.example.mongodb.net/cms?authSource=%24external&authMechanism=MONGODB-AWS"
}

module "write" {
  source = "../"

  function_name      = "db-proxy"
  package_file       = "${path.root}/function.zip"
  mongodb_uri        = local.mongodb_uri
  subnet_ids         = var.subnet_ids
  security_group_ids = var.security_group_ids
}

module "read" {
  source = "../"

  function_name        = "db-proxy-read"
  package_file         = "${path.root}/function.zip"
  mongodb_uri          = local.mongodb_uri
  policy               = "readOnly"
  reserved_concurrency = 5
  subnet_ids           = var.subnet_ids
  security_group_ids   = var.security_group_ids
}

# A caller: its role may invoke, and knows nothing of MongoDB.
resource "aws_iam_role" "caller" {
  name_prefix = "pages-"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "caller" {
  role       = aws_iam_role.caller.name
  policy_arn = module.write.invoke_policy_arn
}

output "odm_url" {
  description = "ODM_URL of the caller"
  value       = replace(module.write.url, "<database>", "cms")
}

output "write_role_arn" {
  description = "Database user with readWrite"
  value       = module.write.function_role_arn
}

output "read_role_arn" {
  description = "Database user with read"
  value       = module.read.function_role_arn
}

output "connections_per_server" {
  description = "Of both functions together"
  value       = module.write.connections_per_server + module.read.connections_per_server
}
