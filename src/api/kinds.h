#pragma once

#include "api/kind.h"

// The tables themselves, one function per kind; made once. Callers outside the registry ask findKind.
namespace podpass::api {

const Kind& podKind();
const Kind& serviceAccountKind();
const Kind& secretKind();
const Kind& configMapKind();
const Kind& namespaceKind();
const Kind& nodeKind();
const Kind& eventKind();
const Kind& serviceKind();
const Kind& bindingKind();

const Kind& tokenReviewKind();
const Kind& selfSubjectReviewKind();
const Kind& subjectAccessReviewKind();
const Kind& localSubjectAccessReviewKind();
const Kind& selfSubjectAccessReviewKind();
const Kind& selfSubjectRulesReviewKind();

const Kind& roleKind();
const Kind& clusterRoleKind();
const Kind& roleBindingKind();
const Kind& clusterRoleBindingKind();

const Kind& leaseKind();
const Kind& signingKeyKind();
const Kind& tokenRevocationKind();
const Kind& issuedTokenKind();
const Kind& tokenIssuerKind();
const Kind& mutatingWebhookConfigurationKind();
const Kind& validatingWebhookConfigurationKind();

const Kind& tokenInjectionKind();
const Kind& podIdentityAssociationKind();
const Kind& faultKind();    // only after serveFaults()
const Kind& iamRoleKind();  // not RBAC's
const Kind& oidcProviderKind();

// Only bodies of subresources.
const Kind& tokenRequestKind();
const Kind& evictionKind();
const Kind& deleteOptionsKind();

// Cells that several tables have.
Column ageColumn();
Column liveTokensColumn();  // status.liveTokens
// The text at `path`, or `missing`.
Column textColumn(std::string_view name, std::vector<std::string_view> path, std::string_view missing = {}, int priority = 0);
std::string ageOf(std::string_view timestamp, WallTime now);  // "5m3s", "<unknown>"

// The verbs of a stored kind; deletecollection may be left out.
std::vector<std::string_view> storedVerbs(bool deleteCollection = true);
Subresource statusSubresource();

}  // namespace podpass::api
