terraform {
  # 1.9: conditions that look at other variables, for the rules of variables.tf.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # logging_config of the function; 5.100 is what the tests run.
      version = ">= 5.83, < 7.0"
    }
  }
}
