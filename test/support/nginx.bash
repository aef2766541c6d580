# What the tests with nginx share; sourced after cli.bash. Who sources it defines
# write_configuration, which writes $dir/nginx.conf for ports from $port on.
PATH=$PATH:/usr/sbin
command -v nginx >/dev/null || { echo "skipped: there is no nginx here"; exit 77; }

# For the top of that file, and for its http block.
nginx_process="daemon off; master_process off; pid $dir/nginx.pid; error_log $dir/error.log;"
nginx_http="access_log off;"
for kind in client_body proxy fastcgi uwsgi scgi; do
    nginx_http+=" ${kind}_temp_path $dir/$kind;"
done
unset kind

# It has written its pid when it listens; a port that is taken ends it.
serve_nginx() {
    local try
    for try in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + RANDOM % 12000))
        write_configuration
        nginx -p "$dir" -c "$dir/nginx.conf" >"$dir/log" 2>&1 &
        nginx=$!
        jobs_started+=("$nginx")
        until [ -s "$dir/nginx.pid" ] || ! kill -0 "$nginx" 2>/dev/null; do sleep 0.02; done
        if kill -0 "$nginx" 2>/dev/null; then return; fi
    done
    fail "nginx does not start after $try: $(cat "$dir/log")"
}
