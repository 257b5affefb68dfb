# The parameters of deploy/template.yaml under the same names, with the same defaults; lists are
# lists here. A rule that the template has among its Rules is a validation of its first variable.

variable "package_file" {
  description = "The bundle: odm package -o function.zip."
  type        = string
  nullable    = false
}

variable "function_name" {
  description = "Name of the function; callers write lambda://<name>:live/<database>."
  type        = string
  default     = "db-proxy"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.function_name))
    error_message = "function_name must be 1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "runtime" {
  description = "As the bundle was packaged for. From 3.12 on, SIGTERM closes connections and SnapStart works."
  type        = string
  default     = "python3.13"
  nullable    = false

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime)
    error_message = "runtime must be one of python3.11, python3.12, python3.13."
  }
}

variable "architecture" {
  description = "As the bundle was packaged for."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be one of x86_64, arm64."
  }
}

variable "memory_size" {
  description = "MB, and with it the share of a CPU. 128 carries all but the longest messages (48 MB), 256 everything."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240 && floor(var.memory_size) == var.memory_size
    error_message = "memory_size must be a whole number from 128 to 10240."
  }
}

variable "timeout" {
  description = "Seconds. Longer than your longest command; a caller waits 5 s longer than this."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.timeout >= 1 && var.timeout <= 900 && floor(var.timeout) == var.timeout
    error_message = "timeout must be a whole number from 1 to 900."
  }
}

variable "reserved_concurrency" {
  description = "Execution environments that run at one time, and so the ceiling of connections - see the top of main.tf."
  type        = number
  default     = 15
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= 1 && var.reserved_concurrency <= 1000 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency must be a whole number from 1 to 1000."
  }
}

variable "provisioned_concurrency" {
  description = "Environments kept initialised; at most reserved_concurrency. 0 is none. Not together with SnapStart."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.provisioned_concurrency >= 0 && var.provisioned_concurrency <= 1000 && floor(var.provisioned_concurrency) == var.provisioned_concurrency
    error_message = "provisioned_concurrency must be a whole number from 0 to 1000."
  }

  validation {
    condition     = var.provisioned_concurrency <= var.reserved_concurrency
    error_message = "provisioned_concurrency is a part of reserved_concurrency, and cannot be more."
  }
}

variable "snap_start" {
  description = "Start environments from a snapshot. Python 3.12 or later; not together with provisioned_concurrency."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.snap_start || var.provisioned_concurrency == 0
    error_message = "AWS Lambda offers SnapStart or provisioned concurrency, not both."
  }

  validation {
    condition     = !var.snap_start || var.runtime != "python3.11"
    error_message = "SnapStart needs Python 3.12 or later."
  }
}

variable "mongodb_uri" {
  description = "URI that has no credentials in it, such as mongodb+srv://cluster0.example.mongodb.net/cms?authSource=%24external&authMechanism=MONGODB-AWS."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(mongodb(\\+srv)?://[^@\\s]+)?$", var.mongodb_uri))
    error_message = "mongodb_uri must be mongodb:// or mongodb+srv:// without user and password; such a URI belongs into a secret."
  }

  validation {
    condition     = length(compact([var.mongodb_uri, var.mongodb_uri_secret_arn, var.mongodb_uri_parameter])) == 1
    error_message = "Set exactly one of mongodb_uri, mongodb_uri_secret_arn and mongodb_uri_parameter."
  }
}

variable "mongodb_uri_secret_arn" {
  description = "ARN of the secret of AWS Secrets Manager that holds the URI. The function reads it when it starts."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\\d{12}:secret:[^#\\s]+)?$", var.mongodb_uri_secret_arn))
    error_message = "mongodb_uri_secret_arn must be the whole ARN of a secret: arn:aws:secretsmanager:…:secret:…, without #key."
  }
}

variable "mongodb_uri_secret_key" {
  description = "Key of the URI, where the secret holds a JSON object."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^\\S*$", var.mongodb_uri_secret_key))
    error_message = "mongodb_uri_secret_key must be a key without blanks."
  }

  validation {
    condition     = var.mongodb_uri_secret_key == "" || var.mongodb_uri_secret_arn != ""
    error_message = "mongodb_uri_secret_key names a key of the secret mongodb_uri_secret_arn, which is not set."
  }
}

variable "mongodb_uri_parameter" {
  description = "Name of the SSM parameter (SecureString) that holds the URI, beginning with a slash."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(/[A-Za-z0-9_./-]+)?$", var.mongodb_uri_parameter))
    error_message = "mongodb_uri_parameter must be the name of a parameter that begins with a slash."
  }
}

variable "mongodb_uri_kms_key_arn" {
  description = "Your own key that the secret or parameter is encrypted with. Empty - AWS's key for the service."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+)?$", var.mongodb_uri_kms_key_arn))
    error_message = "mongodb_uri_kms_key_arn must be the ARN of a key: arn:aws:kms:…:key/…."
  }
}

variable "role_arn" {
  description = "Existing role to run as, such as one that MongoDB knows already; not one that is made in the same run. Empty - a role is made, with least privilege."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:iam::\\d{12}:role/\\S+)?$", var.role_arn))
    error_message = "role_arn must be the ARN of a role: arn:aws:iam::…:role/…."
  }
}

variable "max_pool_size" {
  description = "Connections per server and execution environment; one more is its monitor's."
  type        = number
  default     = 4
  nullable    = false

  validation {
    condition     = var.max_pool_size >= 1 && var.max_pool_size <= 100 && floor(var.max_pool_size) == var.max_pool_size
    error_message = "max_pool_size must be a whole number from 1 to 100."
  }
}

variable "max_idle_time_ms" {
  description = "Milliseconds after which an idle connection is closed."
  type        = number
  default     = 60000
  nullable    = false

  validation {
    condition     = var.max_idle_time_ms >= 1 && floor(var.max_idle_time_ms) == var.max_idle_time_ms
    error_message = "max_idle_time_ms must be a whole number, 1 or more."
  }
}

variable "server_selection_timeout_ms" {
  description = "Milliseconds to look for a server, connect to one and wait for its monitor. Below timeout."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.server_selection_timeout_ms >= 1 && floor(var.server_selection_timeout_ms) == var.server_selection_timeout_ms
    error_message = "server_selection_timeout_ms must be a whole number, 1 or more."
  }

  validation {
    condition     = var.server_selection_timeout_ms < 1000 * var.timeout
    error_message = "server_selection_timeout_ms must be below the function's timeout, or nobody hears why."
  }
}

variable "connect_at_init" {
  description = "Connect to MongoDB before the first invocation, while the environment initialises."
  type        = bool
  default     = true
  nullable    = false
}

variable "policy" {
  description = "What callers may run - readWrite, readOnly, a JSON object, or a .json file of the bundle (docs/policy.md)."
  type        = string
  default     = "readWrite"
  nullable    = false

  validation {
    condition     = can(regex("^(readWrite|readOnly|unrestricted|\\{.*\\}|[A-Za-z0-9_./-]+\\.json)$", var.policy))
    error_message = "policy must be readWrite, readOnly, unrestricted, a JSON object, or a .json file of the bundle (docs/policy.md)."
  }
}

variable "staging" {
  description = "database.collection for bodies too large for one invoke. The function's user needs readWrite on it."
  type        = string
  default     = "odm_proxy.staging"
  nullable    = false

  validation {
    condition     = can(regex("^[^.\\s]+\\.\\S+$", var.staging))
    error_message = "staging must be database.collection."
  }
}

variable "subnet_ids" {
  description = "Private subnets, from which MongoDB is reached by peering or a private endpoint. Empty - no VPC."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-z]+$", id))])
    error_message = "subnet_ids must be a list of subnets, subnet-…."
  }

  validation {
    condition     = (length(var.subnet_ids) == 0) == (length(var.security_group_ids) == 0)
    error_message = "A function in a VPC needs subnet_ids and security_group_ids, one outside neither."
  }
}

variable "security_group_ids" {
  description = "Security groups. Outbound only - MongoDB's port, and 443 to read the secret."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.security_group_ids : can(regex("^sg-[0-9a-z]+$", id))])
    error_message = "security_group_ids must be a list of security groups, sg-…."
  }
}

variable "log_invocations" {
  description = "One structured line for each invocation; never contents."
  type        = bool
  default     = true
  nullable    = false
}

variable "log_level" {
  description = "What the function itself writes. WARN keeps the lines of invocations with an error alone, and drops the metrics of the others."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"], var.log_level)
    error_message = "log_level must be one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL."
  }
}

variable "log_retention_days" {
  description = "How long CloudWatch keeps the log."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "metrics_namespace" {
  description = "CloudWatch namespace of metrics that the function embeds in its log. Empty - none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([0-9A-Za-z._/#:-]{1,255})?$", var.metrics_namespace)) && !startswith(var.metrics_namespace, "AWS/")
    error_message = "metrics_namespace must be letters, digits and ._/#:-, and not begin with AWS/."
  }
}

variable "comment" {
  description = "Give commands a comment, by which a slow query in MongoDB's log leads to its invoke."
  type        = bool
  default     = true
  nullable    = false
}

variable "tracing" {
  description = "AWS X-Ray - Active samples invokes; PassThrough follows the caller's decision."
  type        = string
  default     = "Active"
  nullable    = false

  validation {
    condition     = contains(["Active", "PassThrough"], var.tracing)
    error_message = "tracing must be one of Active, PassThrough."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic that hears of alarms. Empty - nobody is told."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:sns:[a-z0-9-]+:\\d{12}:\\S+)?$", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of a topic: arn:aws:sns:…."
  }
}

variable "kms_key_arn" {
  description = "Your own key for the function's variables and its log; its policy must let CloudWatch Logs use it. Empty - AWS's."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:\\d{12}:key/[A-Za-z0-9-]+)?$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key: arn:aws:kms:…:key/…."
  }
}
