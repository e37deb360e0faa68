#!/usr/bin/env bash
# The walkthrough "Projected Service Account Token", command by command, with real kubectl and a real container.
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

"$podpass" up --data-dir "$work/data" --port 0 >"$work/out" 2>"$work/log" &
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

printf '\n'
for each in "${held[@]}"; do echo "held:     $each"; done
for each in "${missed[@]+"${missed[@]}"}"; do echo "NOT held: $each"; done
[ ${#missed[@]} = 0 ]
