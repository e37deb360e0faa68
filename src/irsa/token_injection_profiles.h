#pragma once

#include <string_view>

// The specs of the ready-made profiles (spec irsa.md §1, §7): what the vendors' own webhooks, or the credential libraries, expect.
namespace podpass::irsa {

struct InjectionProfile {
  std::string_view name;
  std::string_view spec;  // JSON
};

constexpr InjectionProfile kInjectionProfiles[] = {{"AWSWebIdentity", R"({
      "match": {"serviceAccountAnnotation": "eks.amazonaws.com/role-arn"},
      "audience": "${annotation:eks.amazonaws.com/audience|sts.amazonaws.com}",
      "expirationSeconds": 86400, "expirationAnnotation": "eks.amazonaws.com/token-expiration",
      "volumeName": "aws-iam-token", "mountPath": "/var/run/secrets/eks.amazonaws.com/serviceaccount", "tokenPath": "token",
      "env": [{"name": "AWS_ROLE_ARN", "value": "${annotation:eks.amazonaws.com/role-arn}", "group": "identity"},
              {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "${tokenFile}", "group": "identity"}],
      "skipContainersAnnotation": "eks.amazonaws.com/skip-containers"})"},
                                                   {"EKSPodIdentity", R"({
      "audience": "pods.eks.amazonaws.com",
      "expirationSeconds": 86400, "expirationAnnotation": "eks.amazonaws.com/token-expiration", "jitterSeconds": 7200,
      "volumeName": "eks-pod-identity-token", "mountPath": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount",
      "tokenPath": "eks-pod-identity-token",
      "env": [{"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": "http://169.254.170.23/v1/credentials", "group": "identity"},
              {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": "${tokenFile}", "group": "identity"}],
      "podLabels": {"eks.amazonaws.com/pod-identity": "enabled"},
      "skipContainersAnnotation": "eks.amazonaws.com/skip-containers"})"},
                                                   {"AzureWorkloadIdentity", R"({
      "match": {"podSelector": {"matchLabels": {"azure.workload.identity/use": "true"}}},
      "audience": "api://AzureADTokenExchange",
      "expirationSeconds": 3600, "expirationAnnotation": "azure.workload.identity/service-account-token-expiration",
      "expirationLimits": {"min": 3600, "max": 86400},
      "volumeName": "azure-workload-identity-reserved", "hashVolumeName": true, "mountPath": "/var/run/secrets/azure/wi", "tokenPath": "token/azure-identity-token",
      "env": [{"name": "AZURE_CLIENT_ID", "value": "${annotation:azure.workload.identity/client-id}"},
              {"name": "AZURE_TENANT_ID", "value": "${annotation:azure.workload.identity/tenant-id}"},
              {"name": "AZURE_FEDERATED_TOKEN_FILE", "value": "${tokenFile}"},
              {"name": "AZURE_AUTHORITY_HOST", "value": "https://login.microsoftonline.com/"}],
      "skipContainersAnnotation": "azure.workload.identity/skip-containers", "replaceExisting": true})"},
                                                   {"GoogleWorkloadIdentity", R"({
      "match": {"serviceAccountAnnotation": "cloud.google.com/workload-identity-provider"},
      "audience": "https://iam.googleapis.com/${annotation:cloud.google.com/workload-identity-provider}",
      "expirationSeconds": 3600, "expirationAnnotation": "cloud.google.com/token-expiration",
      "volumeName": "gcp-iam-token", "mountPath": "/var/run/secrets/workload-identity", "tokenPath": "token",
      "env": [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "${mountPath}/credential-configuration.json"},
              {"name": "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "value": "${mountPath}/credential-configuration.json"}],
      "files": [{"path": "credential-configuration.json", "json": {
        "universe_domain": "googleapis.com",
        "type": "external_account",
        "audience": "//iam.googleapis.com/${annotation:cloud.google.com/workload-identity-provider}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "${tokenFile}", "format": {"type": "text"}},
        "service_account_impersonation_url":
          "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${annotation:cloud.google.com/service-account-email}:generateAccessToken"}}],
      "skipContainersAnnotation": "cloud.google.com/skip-containers"})"},
                                                   {"Vault", R"({
      "match": {"serviceAccountAnnotation": "identity.podpass.dev/vault-role"},
      "audience": "${annotation:identity.podpass.dev/vault-audience|vault}",
      "expirationSeconds": 3600, "expirationAnnotation": "identity.podpass.dev/vault-token-expiration",
      "volumeName": "vault-token", "mountPath": "/var/run/secrets/vault", "tokenPath": "token",
      "env": [{"name": "VAULT_ADDR", "value": "${annotation:identity.podpass.dev/vault-addr}"}],
      "files": [{"path": "agent.json", "json": {
        "vault": {"address": "${annotation:identity.podpass.dev/vault-addr}"},
        "auto_auth": {"method": {"type": "jwt", "mount_path": "${annotation:identity.podpass.dev/vault-mount|auth/jwt}", "config": {
          "path": "${tokenFile}", "role": "${annotation:identity.podpass.dev/vault-role}", "remove_jwt_after_reading": false}}}}}]})"}};

}  // namespace podpass::irsa
