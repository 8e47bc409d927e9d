/*
 * The human page: which region answered, what is sold, and how long everything takes.
 *
 * One static text; what changes comes from the API. "@" is replaced by the region's name, which
 * is escaped, although it comes from our own command line.
 */
#include "shop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char page[] =
    "<!doctype html><html lang=en><meta charset=utf-8>"
    "<meta name=viewport "
    "content='width=device-width,initial-scale=1'><title>Shop</title><style>"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;"
    "color:#1d2733;background:#fbfaf7}h1{font-size:1.6rem}table{border-collapse:collapse;"
    "width:100%}td,th{padding:.35rem .6rem;border-bottom:1px solid #d9d4c7;text-align:left}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}button,select{font:inherit;"
    "padding:.2rem .8rem}#log{font:13px/1.6 ui-monospace,monospace;white-space:pre-wrap;"
    "background:#f0ede4;padding:.8rem;min-height:6rem}small{color:#6b7480}</style>"
    "<h1>The shop, as seen from <span id=region>@</span></h1>"
    "<p>This page was answered by <b>@</b>. Orders live in <select id=home></select> "
    "<small>(each region keeps its own customers' orders)</small></p>"
    "<table id=products></table><h2>Recent orders</h2><table id=orders></table>"
    "<h2>What happened</h2><div id=log></div><script>"
    "const $=i=>document.getElementById(i),td=(t,c)=>{const e=document.createElement('td');"
    "e.textContent=t;if(c)e.className=c;return e},money=c=>(c/100).toFixed(2);"
    "async function call(m,u,b){const t=performance.now();let r,j;try{r=await "
    "fetch(u,{method:m,"
    "body:b&&JSON.stringify(b)});j=await r.json()}catch(e){j={error:String(e)}}"
    "const ms=(performance.now()-t).toFixed(0),h=n=>r&&r.headers.get(n)||'';"
    "$('log').textContent=`${m} ${u}  ${r?r.status:'-'}  ${ms} ms  ${h('meridian-region')} "
    "${h('meridian-why')}${h('meridian-lost-write')?'  a write of yours may be lost':''}"
    "${j.error?'  '+j.error:''}\\n`+$('log').textContent.slice(0,4000);return r&&r.ok?j:null}"
    "async function products(){const p=await call('GET','/products');if(!p)return;"
    "$('products').replaceChildren(...p.map(x=>{const r=document.createElement('tr'),"
    "b=document.createElement('button');b.textContent='Order';b.onclick=()=>order(x.id);"
    "const c=td('');c.append(b);r.append(td(x.name),td(money(x.price_cents),'n'),c);return "
    "r}))}"
    "async function orders(){const o=await "
    "call('GET','/orders?limit=8&region='+$('home').value);"
    "if(o)$('orders').replaceChildren(...o.map(x=>{const r=document.createElement('tr');"
    "r.append(td(x.home_region),td(x.id.slice(0,8)),td(money(x.total_cents),'n'),"
    "td(x.placed_at.slice(11,19)));return r}))}"
    "const uuid=()=>([1e7]+-1e3+-4e3+-8e3+-1e11).replace(/[018]/g,c=>(c^crypto.getRandomValues("
    "new Uint8Array(1))[0]&15>>c/4).toString(16));"
    "async function order(p){const id=uuid();for(let i=0;i<8;i++){const o=await call('POST',"
    "'/orders/'+$('home').value,{id,lines:[{product:p,quantity:1}]});if(o)break;"
    "await new Promise(r=>setTimeout(r,1000))}orders()}"
    "const here=$('region').textContent,known=['us-east-1','eu-west-1','ap-northeast-1'];"
    "if(!known.includes(here))known.unshift(here);"
    "for(const r of known){const o=document.createElement('option');o.textContent=r;"
    "o.selected=r===here;$('home').append(o)}"
    "$('home').onchange=()=>{document.cookie='home_region='+$('home').value+';path=/"
    "';orders()};"
    "products();orders();</script></html>";

static size_t put_escaped(char *out, const char *s)
{
    char *p = out;

    for (; *s != '\0'; s++) {
        p += sprintf(p, strchr("<>&'\"", *s) != NULL ? "&#%d;" : "%c", *s);
    }
    return (size_t)(p - out);
}

char *shop_page(const struct shop *shop)
{
    size_t places = 0;
    char *out, *p;

    for (const char *s = page; *s != '\0'; s++) {
        places += *s == '@';
    }
    p = out = malloc(sizeof(page) + places * strlen(shop->region) * 6);
    for (const char *s = page; out != NULL && *s != '\0'; s++) {
        if (*s == '@') {
            p += put_escaped(p, shop->region);
        } else {
            *p++ = *s;
        }
    }
    if (out != NULL) {
        *p = '\0';
    }
    return out;
}
