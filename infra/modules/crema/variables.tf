variable "bounds" {
  description = "The least and the most instances."
  type        = object({ min = number, max = number })
}

variable "calls_per_instance" {
  description = "How many calls an instance shall hold before there is another: its MAX_CALLS less head-room."
  type        = number
}

variable "image" {
  description = "CREMA's image."
  type        = string
}

variable "labels" {
  description = "Labels for everything that takes labels."
  type        = map(string)
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
}

variable "project_id" {
  description = "The Google Cloud project's id."
  type        = string
}

variable "region" {
  description = "The region."
  type        = string
}

variable "subscription" {
  description = "The claim subscription's id."
  type        = string
}

variable "worker_pool" {
  description = "The name of the worker pool that is scaled."
  type        = string
}

variable "worker_pool_account" {
  description = "The full name of the account that the worker pool runs as."
  type        = string
}
