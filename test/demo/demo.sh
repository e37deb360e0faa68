#!/usr/bin/env bash
# The walkthrough "Projected Service Account Token", command by command, with real kubectl and a real container; then how it goes on:
# a second token, and with it an AWS role.
set -uo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "The demo runs containers, and that needs root; podpass up --node off works without."; exit 1; }

podpass=$PWD/build/podpass demo=$PWD/test/demo
work=$(mktemp -d /tmp/podpass-demo.XXXXXX)  # short: a socket's path has 107 characters at most
export KUBECONFIG=$work/data/admin.kubeconfig HOME=$work
server=
held=() missed=()
claim() { if "${@:2}" >/dev/null 2>&1; then held+=("$1"); else missed+=("$1"); printf '\nNOT held: %s\n' "$1"; fi; }
show() { printf '\n\033[1m$ %s\033[0m\n' "$1"; eval "$1"; }
payload() { python3 -c 'import base64,json,sys
p=sys.stdin.read().strip().split(".")[1]; print(json.dumps(json.loads(base64.urlsafe_b64decode(p+"="*(-len(p)%4))),indent=2))'; }
# until_ok SECONDS COMMAND...
until_ok() { local end=$((SECONDS + $1)); while ! "${@:2}" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.2; done; }
give_up() { printf '\nThe demo ends here: %s\n' "$1"; [ ! -s "$work/log" ] || { echo "podpass said last:"; tail -n 20 "$work/log"; }; exit 1; }
finish() {
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server"  # ends the pods, too
    until_ok 30 sh -c "! kill -0 $server" || kill -KILL "$server"
  fi
  for mount in $(awk -v dir="$work/" 'index($2, dir) == 1 {print $2}' /proc/mounts | sort -r); do umount -l "$mount"; done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$podpass" up --data-dir "$work/data" --port 0 --sts-connect-proxy 127.0.0.1:0 >"$work/out" 2>"$work/log" &
server=$!
until_ok 20 grep -q 'podpass is ready' "$work/out" || give_up "podpass did not become ready"
cat "$work/out"
ctr=(ctr -a "$work/data/node/containerd/containerd.sock" -n k8s.io)
until_ok 30 "${ctr[@]}" version || give_up "containerd does not answer"

if timeout 20 "${ctr[@]}" images pull docker.io/amazon/aws-cli:latest >/dev/null 2>&1; then
  echo "Pulled amazon/aws-cli:latest."
else
  echo "No registry can be reached: building an image of the name amazon/aws-cli:latest from Debian's awscli package."
  "$demo/image.sh" "$work/image.tar" || give_up "the image cannot be built: is a Debian mirror reachable?"
  "${ctr[@]}" images import "$work/image.tar" >/dev/null || give_up "the image cannot be imported"
  rm -f "$work/image.tar"
fi

until_ok 20 sh -c "kubectl get sa default -ojson | jq -e '.secrets[0].name'"
show 'kubectl get sa'
claim "get sa prints SECRETS 1" sh -c "kubectl get sa default --no-headers | grep -Eq '^default +1 '"
show 'DEFAULT_SA_SECRET_NAME=$(kubectl get sa default -ojson | jq -r ".secrets[0].name"); echo "Default Service Account Secret Name: $DEFAULT_SA_SECRET_NAME"'
claim "the secret is called default-token-xxxxx" sh -c "echo $DEFAULT_SA_SECRET_NAME | grep -Eq '^default-token-[a-z0-9]{5}$'"
show 'kubectl get secret $DEFAULT_SA_SECRET_NAME -o json | jq -r ".data.token" | base64 -d'
legacy=$(kubectl get secret "$DEFAULT_SA_SECRET_NAME" -o json | jq -r .data.token | base64 -d)
printf '\n\nIts payload:\n'; payload <<<"$legacy"
claim "the first token has the document's claims and never expires" jq -e \
  'keys == ["iss", "kubernetes.io/serviceaccount/namespace", "kubernetes.io/serviceaccount/secret.name", "kubernetes.io/serviceaccount/service-account.name", "kubernetes.io/serviceaccount/service-account.uid", "sub"]' <<<"$(payload <<<"$legacy")"

cd "$work"
show 'cat > eks-iam-test2.yaml <<EOF
apiVersion: v1
kind: Pod
metadata:
  name: eks-iam-test2
spec:
  containers:
    - name: my-aws-cli
      image: amazon/aws-cli:latest
      command: ['"'sleep', '36000'"']
  restartPolicy: Never
EOF
kubectl apply -f eks-iam-test2.yaml'
kubectl wait --for=condition=Ready pod/eks-iam-test2 --timeout=120s >/dev/null || { kubectl describe pod eks-iam-test2; give_up "the pod does not run"; }
show 'kubectl get pod'
claim "the pod runs" sh -c "kubectl get pod eks-iam-test2 --no-headers | grep -Eq '1/1 +Running'"
show 'kubectl get pod eks-iam-test2 -oyaml'
pod=$(kubectl get pod eks-iam-test2 -ojson)
claim "a volume kube-api-access-xxxxx with token, ca.crt and namespace is injected" jq -e \
  '.spec.volumes[0] | (.name | test("^kube-api-access-.....$")) and .projected.defaultMode == 420 and .projected.sources[0].serviceAccountToken == {"expirationSeconds":3607,"path":"token"} and .projected.sources[1].configMap.name == "kube-root-ca.crt" and .projected.sources[2].downwardAPI.items[0].path == "namespace"' <<<"$pod"
claim "it is mounted read-only at the document's path" jq -e \
  '.spec.containers[0].volumeMounts[0] | .mountPath == "/var/run/secrets/kubernetes.io/serviceaccount" and .readOnly' <<<"$pod"
read_token='kubectl exec -it eks-iam-test2 -- cat /var/run/secrets/kubernetes.io/serviceaccount/token'
printf '\n\033[1m$ %s\033[0m\n' "$read_token"
token=$(script -qec "$read_token" /dev/null </dev/null | tr -d '\r\n' | grep -Eo 'eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+')
printf '%s\n\nIts payload:\n' "$token"; payload <<<"$token"
claims=$(payload <<<"$token")
claim "exec -it reads the token" test -n "$token"
claim "the token is for https://kubernetes.default.svc, bound to the pod, extended to a year, with warnafter" jq -e \
  '.aud == ["https://kubernetes.default.svc"] and ."kubernetes.io".pod.name == "eks-iam-test2" and .exp - .iat == 31536000 and ."kubernetes.io".warnafter - .iat == 3607 and .sub == "system:serviceaccount:default:default"' <<<"$claims"

url=$(jq -r .apiserver data/endpoints.json)
code() { curl -s -o /dev/null -w '%{http_code}' --cacert data/ca.crt -H @- "$url/api" <<<"Authorization: Bearer $1"; }
claim "the API server accepts it" test "$(code "$token")" = 200
other=$(kubectl create token default --audience sts.amazonaws.com)
printf '\n\033[1m$ a token for sts.amazonaws.com, shown to the API server:\033[0m HTTP %s\n' "$(code "$other")"
claim "a token for another audience is refused by the API server" test "$(code "$other")" = 401
kubectl get --raw /.well-known/openid-configuration >oidc.json; kubectl get --raw /openid/v1/jwks >jwks.json
claim "iss is the issuer that discovery describes" test "$(jq -r .issuer oidc.json)" = "$(jq -r .iss <<<"$claims")"
printf '\n\033[1m$ podpass token inspect --jwks jwks.json\033[0m\n'; "$podpass" token inspect --jwks jwks.json <<<"$token"
claim "the signature verifies with the published keys" sh -c "echo '$token' | '$podpass' token inspect --jwks jwks.json"
show 'sed "s/eks-iam-test2/no-token/; s/^spec:/spec:\n  automountServiceAccountToken: false/" eks-iam-test2.yaml | kubectl apply -f -'
claim "automountServiceAccountToken: false keeps the token out" sh -c "kubectl get pod no-token -ojson | jq -e '.spec.volumes == null'"
show 'kubectl delete pod eks-iam-test2 --grace-period=1'
claim "the token dies with its pod" test "$(code "$token")" = 401


# The second half: the webhook injects a second token, and STS gives an AWS role for it.
role=arn:aws:iam::000000000000:role/s3-reader
provider=$(kubectl get oidcprovider podpass -o jsonpath='{.status.arn}')
show 'kubectl create serviceaccount s3-reader'
show 'kubectl annotate serviceaccount s3-reader eks.amazonaws.com/role-arn='$role
trust() {  # the role's manifest, open to these subjects
  cat <<EOF
apiVersion: iam.podpass.dev/v1
kind: Role
metadata:
  name: s3-reader
spec:
  trustPolicy:
    Version: "2012-10-17"
    Statement:
    - Effect: Allow
      Principal: {Federated: "$provider"}
      Action: sts:AssumeRoleWithWebIdentity
      Condition:
        StringEquals:
          ${provider#*/}:aud: sts.amazonaws.com
          ${provider#*/}:sub: [$1]
EOF
}
trust system:serviceaccount:default:s3-reader >role.yaml
show 'cat role.yaml; kubectl apply -f role.yaml'
show 'kubectl get roles.iam.podpass.dev'
claim "a role with AWS's trust policy is an object like any other" kubectl wait --for=jsonpath='{.status.arn}'=$role roles.iam.podpass.dev/s3-reader --timeout=10s

echo; echo "AWS CLI 2.9 has no endpoint setting, so pods with a role are given the CONNECT proxy that leads to podpass's STS."
cat >endpoint.yaml <<EOF
apiVersion: identity.podpass.dev/v1
kind: TokenInjection
metadata:
  name: sts-endpoint
spec:
  profile: AWSWebIdentity
  env:
  - {name: HTTPS_PROXY, value: "$(jq -r .stsProxyForPods data/endpoints.json)"}
  - {name: AWS_CA_BUNDLE, value: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
  - {name: AWS_REGION, value: eu-west-1}
  - {name: AWS_DEFAULT_REGION, value: eu-west-1}
EOF
show 'cat endpoint.yaml; kubectl apply -f endpoint.yaml'
sleep_as() {  # SERVICEACCOUNT POD: the same pod under another name and service account
  sed "s/eks-iam-test2/$2/; s/^spec:/spec:\n  serviceAccountName: $1/" eks-iam-test2.yaml >"$2.yaml"
  show "cat $2.yaml; kubectl apply -f $2.yaml"
  kubectl wait --for=condition=Ready "pod/$2" --timeout=120s >/dev/null || { kubectl describe pod "$2"; give_up "the pod $2 does not run"; }
}
sleep_as s3-reader eks-iam-test3
show 'kubectl exec eks-iam-test3 -- env | grep -E "^(AWS|HTTPS)_"'
pod=$(kubectl get pod eks-iam-test3 -ojson)
claim "the webhook injects AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE" jq -e --arg role $role \
  '.spec.containers[0].env | from_entries | .AWS_ROLE_ARN == $role and .AWS_WEB_IDENTITY_TOKEN_FILE == "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"' <<<"$pod"
claim "and the volume aws-iam-token beside kube-api-access-xxxxx" jq -e '[.spec.volumes[].name] | contains(["aws-iam-token", "kube-api-access-"])' <<<"$pod"
second=$(kubectl exec eks-iam-test3 -- cat /var/run/secrets/eks.amazonaws.com/serviceaccount/token)
printf '\nThe second token says:\n'; payload <<<"$second"
claim "the second token is for sts.amazonaws.com and lives a day" jq -e \
  '.aud == ["sts.amazonaws.com"] and .exp - .iat == 86400 and .sub == "system:serviceaccount:default:s3-reader" and ."kubernetes.io".pod.name == "eks-iam-test3"' <<<"$(payload <<<"$second")"
claim "the API server refuses the second token" test "$(code "$second")" = 401
show 'kubectl exec eks-iam-test3 -- aws sts get-caller-identity --output json | tee identity.json'
claim "the AWS CLI in the container has assumed the role" jq -es \
  '.[0] | .Account == "000000000000" and (.Arn | startswith("arn:aws:sts::000000000000:assumed-role/s3-reader/"))' identity.json

echo; echo "Another service account helps itself to the same role:"
show 'kubectl create serviceaccount intruder; kubectl annotate serviceaccount intruder eks.amazonaws.com/role-arn='$role
sleep_as intruder eks-iam-test4
show 'kubectl exec eks-iam-test4 -- aws sts get-caller-identity 2>&1 | tee refused.txt'
claim "the wrong service account is refused, in AWS's words" grep -q \
  'An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: Not authorized to perform sts:AssumeRoleWithWebIdentity' refused.txt
refusal() { kubectl get events --field-selector involvedObject.kind=Role,involvedObject.name=s3-reader -ojsonpath='{.items[0].metadata.name}' | sed 's/^sts\.//' | grep .; }
until_ok 10 refusal
show 'kubectl get events --field-selector involvedObject.kind=Role,involvedObject.name=s3-reader'
request=$(refusal)
export PATH=${podpass%/*}:$PATH
show "podpass doctor request $request | tee verdict.txt"
claim "doctor shows the condition that failed, expected and found" grep -q \
  'FAIL .*:sub: expected "system:serviceaccount:default:s3-reader", found "system:serviceaccount:default:intruder"' verdict.txt
claim "and the mend" grep -q '^fix: .*add "system:serviceaccount:default:intruder" to StringEquals' verdict.txt
echo; echo "Without a request id, from the pod's name: the whole way, from the annotation to the trust policy."
show 'podpass doctor pod eks-iam-test4 | tee checklist.txt'
claim "doctor pod finds all well up to the trust policy, and names the condition that failed" jq -es \
  '.[0] | .broken == "trust-policy" and ([.checks[] | select(.finding != "ok") | .id] == ["trust-policy", "identity"]) and (.checks[] | select(.id == "trust-policy").why | test(":sub expected \"system:serviceaccount:default:s3-reader\", found \"system:serviceaccount:default:intruder\""))' \
  <(podpass doctor pod eks-iam-test4 -o json)
claim "and has read the token in the container, and printed none" sh -c "grep -q '^ok *token *read from' checklist.txt && ! grep -Eq 'eyJ[A-Za-z0-9_-]{20}' checklist.txt"
trust system:serviceaccount:default:s3-reader,system:serviceaccount:default:intruder >role.yaml
echo; echo "The mend: let the role trust that service account, too."
show 'grep sub: role.yaml; kubectl apply -f role.yaml'
claim "after the mend the role is given" until_ok 30 kubectl exec eks-iam-test4 -- aws sts get-caller-identity
claim "and doctor pod finds every link good" podpass doctor pod eks-iam-test4

printf '\n'
for each in "${held[@]}"; do echo "held:     $each"; done
for each in "${missed[@]+"${missed[@]}"}"; do echo "NOT held: $each"; done
[ ${#missed[@]} = 0 ]
